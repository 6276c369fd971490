"""Processes: those that this one starts, those beside it, and the program of the embedded server."""
