"""Child processes of workers: the pipes to them, and how they end."""
