"""Forms made from JSON schemas, as `GET /v1/tasks` has them, and what fills them in."""
