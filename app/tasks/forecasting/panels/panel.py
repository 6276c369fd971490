"""Panels: many normalized histories in flat arrays, from which inputs and targets are gathered."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.panels.histories import Histories
from app.tasks.forecasting.panels.normalization import NormalizedHistories, base_seasons, normalize
from app.typedefs import Json

NO_POINTS = np.zeros(0, np.float32)
BLOCK_STEPS = 256  # whose calendar features are computed together
MAX_KNOWN_BLOCKS = 1024  # of them: requests have dates around now, so most of them share some
MAX_CHUNK_POINTS = 1 << 16  # of padded histories that are normalized together: the arrays stay in the cache


@dataclass(frozen=True)
class Panel:
    """Normalized histories in flat arrays; what is beyond an origin is only read of targets and changes.

    A point of a history is at `offsets` and its position. Without base seasons `base` is the level itself,
    and nothing has a seasonal change. A panel for requests has no targets.
    """

    offsets: Array  # (histories,) of the first point in the flat arrays
    lengths: Array  # (histories,) points up to the origin
    level: Array  # (points,) float32; 0 beyond the origin
    base: Array  # (points,) float32; 0 beyond the origin
    seasonal_change: Array  # (points,) float32, or none
    scale: Array  # (points,) float32; 1 beyond the origin
    observed: Array  # (points,) bool
    trainable: Array  # (points,) bool, False beyond the origin, or none
    target: Array  # (points,) float32, NaN = missing or unknown, or none
    seasonal: Array  # (histories,) float32, 1 = a season was removed
    histories: Histories  # as long as the panel has them
    calendar: "Calendar"


class Calendar:
    """The calendar features of the points of histories, looked up in a table where that is shorter."""

    def __init__(self, state: Json, frequency: Frequency, histories: Histories) -> None:
        self._frequency, self._width = frequency, int(state["cycles"])
        self._table: Array | None = None
        lengths, start = histories.lengths[histories.dated], histories.start[histories.dated]
        if self._width and len(start):
            self._first, end = int(start.min()), int((start + lengths).max())
            if end - self._first <= lengths.sum():
                self._table = _calendar_table(frequency, self._first, end)

    def features(self, ordinals: Array, dated: Array) -> Array:
        """Features (rows, time, cycles) float32 of ordinals (rows, time); 0 for rows that are not dated."""
        if not dated.any():
            return np.zeros((*ordinals.shape, self._width), np.float32)
        if self._table is None:
            flat = np.where(dated[:, None], ordinals, 0).ravel()
            features = self._frequency.calendar_features(flat).reshape(*ordinals.shape, -1)
        else:
            features = self._table[np.where(dated[:, None], ordinals - self._first, 0)]
        features[~dated] = 0.0
        return features


def _calendar_table(frequency: Frequency, first: int, end: int) -> Array:
    """The calendar features of the ordinals from `first` on and before `end`, (ordinals, cycles)."""
    blocks = range(first // BLOCK_STEPS, (end - 1) // BLOCK_STEPS + 1)
    if len(blocks) > 2:  # long histories are rare, and would push out what short ones share
        return frequency.calendar_features(np.arange(first, end))
    known = [_calendar_block(frequency, block) for block in blocks]
    joined = known[0] if len(known) == 1 else np.concatenate(known)
    begin = blocks.start * BLOCK_STEPS
    return joined[first - begin : end - begin]


@lru_cache(MAX_KNOWN_BLOCKS)
def _calendar_block(frequency: Frequency, block: int) -> Array:
    """The calendar features of the ordinals of a block, (BLOCK_STEPS, cycles), not to be changed."""
    features = frequency.calendar_features(np.arange(block * BLOCK_STEPS, (block + 1) * BLOCK_STEPS))
    features.flags.writeable = False
    return features


def chunks(state: Json, histories: Histories) -> Iterator[tuple[Array, int]]:
    """Rows of histories that can be normalized together, of similar lengths, and their base season.

    All of them are in one chunk or another.
    """
    lengths, values = histories.lengths, histories.points.values
    bases = np.zeros(len(lengths), np.int64)
    if state["bases"]:
        observed = np.concatenate([[0], np.cumsum(np.isfinite(values))])
        bases = base_seasons(state, lengths, observed[histories.origin] - observed[histories.first])
    order = np.lexsort((lengths, bases))
    widths = lengths[order] + state["horizon"]
    position = 0
    while position < len(order):
        base = bases[order[position]]
        rows = max(1, MAX_CHUNK_POINTS // int(widths[position]))
        part = order[position : position + rows]
        part = part[bases[part] == base]
        # The last one is the longest: all of them are padded to its length.
        part = part[: max(1, MAX_CHUNK_POINTS // int(lengths[part[-1]] + state["horizon"]))]
        yield part, int(base)
        position += len(part)


def normalized_chunks(
    state: Json, histories: Histories
) -> Iterator[tuple[Array, Histories, NormalizedHistories]]:
    """The rows of each of the `chunks`, and their histories, as they are and normalized."""
    for rows, base_season in chunks(state, histories):
        part = histories.take(rows)
        width = int(part.lengths.max()) + state["horizon"]
        yield rows, part, normalize(state, part.values(width), part.lengths, base_season)


def build_panel(
    state: Json, frequency: Frequency, histories: Histories, max_points: int | None = None
) -> Panel:
    """A panel of histories; with `max_points` only of the last points of each."""
    builder = PanelBuilder(state, histories, max_points)
    for rows, _, normalized in normalized_chunks(state, histories):
        builder.add(rows, normalized)
    return builder.build(frequency)


class PanelBuilder:
    """Collects normalized histories, chunk by chunk; the padding of a chunk is part of the flat arrays."""

    def __init__(
        self, state: Json, histories: Histories, max_points: int | None = None, *, targets: bool = True
    ) -> None:
        self._state = state
        counts = histories.lengths if max_points is None else np.minimum(histories.lengths, max_points)
        self._skipped = histories.lengths - counts  # points at the beginning of each history
        self._histories = histories.last_points(counts)
        self._offsets = np.zeros(len(histories), np.int64)
        self._seasonal = np.zeros(len(histories), np.float32)
        names = ["level", "scale", "observed"] + (["trainable", "target"] if targets else [])
        names += ["base", "seasonal_change"] if state["bases"] else []
        self._parts: dict[str, list[Array]] = {name: [] for name in names}
        self._size = 0

    def add(self, rows: Array, normalized: NormalizedHistories) -> None:
        """Add the normalized histories of these rows."""
        lengths, skipped = self._histories.lengths[rows], self._skipped[rows]
        time = int(lengths.max())
        width = time + self._state["horizon"]
        is_cut = bool(skipped.any())
        outside = np.arange(width) >= lengths[:, None] if is_cut or (lengths < time).any() else None
        for name, parts in self._parts.items():
            whole = getattr(normalized, name)
            whole = _ends(whole, skipped, width) if is_cut else whole
            dtype = np.dtype(bool if whole.dtype == bool else np.float32)
            beyond = np.asarray(name == "scale", dtype)
            flat = np.full((len(rows), width), beyond)
            flat[:, : whole.shape[1]] = whole
            if outside is not None and name not in ("target", "seasonal_change"):
                np.copyto(flat, beyond, where=outside)
            parts.append(flat.reshape(-1))
        self._offsets[rows] = self._size + np.arange(len(rows)) * width
        self._seasonal[rows] = normalized.season > 0
        self._size += len(rows) * width

    def build(self, frequency: Frequency) -> Panel:
        """The panel of all that was added."""
        flat = {}
        for name, parts in self._parts.items():
            flat[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
            parts.clear()  # at no time are all arrays there twice
        flat.setdefault("base", flat["level"])
        flat.setdefault("seasonal_change", NO_POINTS)
        flat.setdefault("target", NO_POINTS)
        flat.setdefault("trainable", NO_POINTS.astype(bool))
        return Panel(
            offsets=self._offsets,
            lengths=self._histories.lengths,
            seasonal=self._seasonal,
            histories=self._histories,
            calendar=Calendar(self._state, frequency, self._histories),
            **flat,
        )


def _ends(values: Array, skipped: Array, width: int) -> Array:
    """Rows (rows, time) from the columns `skipped` (rows,) on, at most `width` of them."""
    index = np.minimum(skipped[:, None] + np.arange(width), values.shape[1] - 1)
    return np.take_along_axis(values, index, axis=1)
