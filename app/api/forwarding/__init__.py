"""Large requests go to a process of their own, so that they hold up nobody else's."""
