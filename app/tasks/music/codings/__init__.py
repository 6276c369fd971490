"""Ways to write a piece as events, and to read notes from events."""
