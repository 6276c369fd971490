"""Forms made from JSON schemas, as `GET /v1/tasks` has them."""
