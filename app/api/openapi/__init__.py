"""The OpenAPI document: what FastAPI knows of the routes, and what generators of clients want besides."""

from app.api.openapi.document import complete_document
from app.api.openapi.security import add_security

__all__ = ["add_security", "complete_document"]
