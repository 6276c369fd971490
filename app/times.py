"""Times in the format of the API."""

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Seconds since 1970 in the form `2026-01-31T09:30:00.123Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
