"""Servers that do all of Recurra's work: its encoding and decoding around the graph, in their worker."""
