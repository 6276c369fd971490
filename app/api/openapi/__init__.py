"""The OpenAPI document: what FastAPI knows of the routes, and what generators of clients want besides."""

from app.api.openapi.document import complete_document

__all__ = ["complete_document"]
