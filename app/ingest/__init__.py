"""Uploaded files: read in a child process, by a reader for each format."""
