"""How `schemathesis` writes bodies of media types that it does not know."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/jsonl", "application/x-ndjson")
def write_lines(context: Any, value: Any) -> bytes:
    """Text or bytes as they are; whatever else a request that shall be refused has, as text."""
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode(errors="replace")
