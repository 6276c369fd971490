"""Events of jobs, models and aliases: written with what they tell of, and followed."""
