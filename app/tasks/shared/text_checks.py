"""Checks of a text that a user sent: in a file to train on, or in a request."""

from app.tasks.shared.table_cells import odd_text, shorten

LONGEST = 100_000  # characters of a text


def wrong_text(value: object) -> str | None:
    """What is wrong with a text, as the end of a sentence about it."""
    if not isinstance(value, str):
        return f"is {shorten(value)}, which is no text."
    return odd_text(value, LONGEST)
