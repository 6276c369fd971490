"""What the OpenAPI document says of keys: which scope each operation needs, and how requests are refused."""

from collections.abc import Mapping

from app.api.access.declared import PUBLIC_PATHS, Access
from app.api.problems import error_responses
from app.typedefs import Json

SCHEME = "key"
REFUSALS = ("401", "403", "429")


def add_security(document: Json, declared: Mapping[str, Access]) -> None:
    """Add the scopes of operations to a document; `declared` is by operation id."""
    document["components"]["securitySchemes"] = {
        SCHEME: {"type": "http", "scheme": "bearer", "description": "`rk_…`; roles are the scopes of keys."}
    }
    for path, operations in document["paths"].items():
        if path in PUBLIC_PATHS:
            continue
        for operation in operations.values():
            scope = declared[operation["operationId"]].scope
            operation["security"] = [{SCHEME: [] if scope is None else [scope.value]}]
            for status, response in error_responses(path, REFUSALS).items():
                operation["responses"].setdefault(status, response)
            operation["responses"] = dict(sorted(operation["responses"].items()))
