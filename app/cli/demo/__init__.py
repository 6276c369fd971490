"""`recurra demo`: each task on real data."""
