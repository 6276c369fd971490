"""Decoding of media files from strangers: in a child process with limits, which may die of them."""
