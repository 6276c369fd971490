"""Whether the verdict on a training tells networks that forget from those that remember."""
