"""The thread that advances sweeps, and Optuna's samplers."""
