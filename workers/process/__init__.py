"""Child processes: the pipes to them, and how they end."""
