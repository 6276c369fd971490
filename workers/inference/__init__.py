"""Engines that run a loaded version, and the cache of artifacts."""
