"""Examples of a data set as instances that a version takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.page.forms.schemas import FieldKind, FieldSpec
from app.typedefs import Json

MAX_STEPS = 20_000  # of a series, the last ones: what a browser may well send back
MAX_EXAMPLE_CHARS = 200  # of a text that is filled in as another field's value, such as a prompt
TEXT_KINDS = (FieldKind.LINE, FieldKind.TEXT)


@dataclass(frozen=True)
class SeriesColumns:
    """The covariates that a version was trained with, and how far it forecasts."""

    horizon: int
    future: frozenset[str]  # known ahead
    past: frozenset[str] | None  # further ones; None: all that are not known ahead
    static: frozenset[str] | None  # None: all

    @classmethod
    def of(cls, version: Json, summary: Json) -> "SeriesColumns":
        """Of a version, and of the summary of the data set that it was trained on."""
        options = version["options"]
        future = options.get("future_covariates")
        past, static = (options.get(f"{kind}_covariates") for kind in ("past", "static"))
        return cls(
            int(options["horizon"]),
            frozenset(summary.get("known_ahead") or () if future is None else future),
            None if past is None else frozenset(past),
            None if static is None else frozenset(static),
        )

    def reads(self, name: str) -> bool:
        """Whether a column that varies is one of them."""
        return name in self.future or self.past is None or name in self.past

    def held_back(self, row: Json) -> int:
        """How many of the last values can be forecast: the horizon, and at most half of them."""
        return min(self.horizon, observed_length(row) // 2)


def observed_length(row: Json) -> int:
    """Steps of a series up to its last value."""
    values = row["values"]
    return next((step for step in range(len(values), 0, -1) if values[step - 1] is not None), 0)


def series_instance(row: Json, columns: SeriesColumns, held_back: int = 0) -> tuple[Json, list[float | None]]:
    """The instance of a series up to its last value but some, and those that are held back.

    Of a long series it has the last steps.
    """
    length = observed_length(row)
    end, horizon = length - held_back, held_back or columns.horizon
    begin = max(0, end - MAX_STEPS)
    read = {name: cells for name, cells in row.get("covariates", {}).items() if columns.reads(name)}
    ahead = {name: cells[end : end + horizon] for name, cells in read.items() if name in columns.future}
    is_known = any(cell is not None for cells in ahead.values() for cell in cells)
    parts: Json = {
        "item_id": row.get("item_id"),
        "freq": row.get("freq"),
        "start": next(iter(row["timestamps"][begin:]), None),
        "values": row["values"][begin:end],
        "past": {name: cells[begin:end] for name, cells in read.items()},
        "future": {
            name: [*cells, *[None] * (horizon - len(cells))] for name, cells in ahead.items() if is_known
        },
        "static": {
            name: level
            for name, level in row.get("static", {}).items()
            if columns.static is None or name in columns.static
        },
    }
    instance = {name: value for name, value in parts.items() if value not in (None, {})}
    return instance, row["values"][end:length]


def example_instance(
    row: Json, specs: Sequence[FieldSpec], columns: SeriesColumns | None = None
) -> dict[str, Any]:
    """What an example says for the fields of an instance; files are none of them."""
    if columns is not None and "timestamps" in row:
        return series_instance(row, columns)[0]
    values: dict[str, Any] = {
        spec.name: row[spec.name]
        for spec in specs
        if spec.kind is not FieldKind.FILE and row.get(spec.name) is not None
    }
    texts = [spec.name for spec in specs if spec.kind in TEXT_KINDS and spec.required]
    if not values and texts:
        first = next((value for value in row.values() if isinstance(value, str)), "")
        values[texts[0]] = first[:MAX_EXAMPLE_CHARS]
    return values
