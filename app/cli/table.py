"""Tables that fit a terminal: cells are wrapped between words, and ids are never broken."""

import textwrap
from collections.abc import Sequence

GAP = "  "  # between two columns


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the lines of a table, its header first, none longer than `width`; None sets no limit.

    A column whose name ends with `#` is of numbers, and aligned to the right. Words, such as ids, are broken
    only where the table could not fit otherwise, and the longest first.
    """
    names = [name.removesuffix("#") for name in columns]
    table = [names, *rows]
    widths = _fit([[row[number] for row in table] for number in range(len(columns))], width)
    rights = [name.endswith("#") for name in columns]
    return [line for row in table for line in _format_row(row, widths, rights)]


def _fit(columns: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """Return the width of each column: first wrap between words, then break the longest words but ids."""
    widths = [max(map(len, cells)) for cells in columns]
    least = [max((len(word) for cell in cells for word in cell.split()), default=0) for cells in columns]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - (width or 0)
    for _ in range(max(excess, 0) if width is not None else 0):
        slack = [has - needs for has, needs in zip(widths, least, strict=True)]
        if max(slack) <= 0:
            has_ids = [any(map(_is_id, cells)) for cells in columns]
            slack = [0 if ids else has for ids, has in zip(has_ids, widths, strict=True)]
            slack = slack if max(slack) > 1 else widths
        widths[slack.index(max(slack))] -= 1
    return widths


def _is_id(cell: str) -> bool:
    """Whether a cell is an id of the service: a prefix, and 26 digits and letters."""
    prefix, underscore, digits = cell.partition("_")
    return bool(underscore) and prefix.isalpha() and len(digits) == 26 and digits.isalnum()


def _format_row(row: Sequence[str], widths: Sequence[int], rights: Sequence[bool]) -> list[str]:
    cells = [
        textwrap.wrap(cell, max(width, 1), break_on_hyphens=False) or [""]
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, cells))):
        parts = [lines_of[number] if number < len(lines_of) else "" for lines_of in cells]
        padded = (
            part.rjust(width) if right else part.ljust(width)
            for part, width, right in zip(parts, widths, rights, strict=True)
        )
        lines.append(GAP.join(padded).rstrip())
    return lines
