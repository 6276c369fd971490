"""Ten times what the service can take: what is answered in time, what is refused, memory, recovery."""
