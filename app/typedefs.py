"""Type aliases that every layer uses."""

from typing import Any

Json = dict[str, Any]  # an object of JSON: its values are anything JSON can hold
