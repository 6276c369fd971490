"""Plain functions over a database session: one module a resource."""
