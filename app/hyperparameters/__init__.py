"""How networks are built and trained, and the space a sweep searches."""
