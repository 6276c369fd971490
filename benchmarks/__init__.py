"""Measurements of the running service; `make bench` runs all and writes RESULTS.md."""
