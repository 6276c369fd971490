"""A call as commands: for a shell, and for Python."""
