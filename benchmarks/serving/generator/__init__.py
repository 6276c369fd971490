"""The load generator: a process of its own that sends requests, times them and verifies the answers."""
