"""JSON Lines for uploads."""

import json
from collections.abc import Iterable
from pathlib import Path

from recurra.errors import InvalidInput, Json
from recurra.tasks.contract import PreparedFile


def write_jsonl(folder: Path, rows: Iterable[Json], columns: dict[str, str] | None = None) -> PreparedFile:
    """Write objects, one a line; raises `InvalidInput` for what is not JSON."""
    path = folder / "data.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            try:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            except (TypeError, ValueError) as error:
                raise InvalidInput(f"example {number} cannot be written as JSON: {error}") from None
    return PreparedFile(path, "jsonl", columns or {})
