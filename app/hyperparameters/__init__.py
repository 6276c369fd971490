"""Network and training options of jobs, and the search space of sweeps."""
