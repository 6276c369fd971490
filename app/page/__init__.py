"""The page for people: a process of its own that speaks only the public API of a service."""
