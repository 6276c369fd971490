"""Training windows and forecast origins, gathered from flat arrays by index."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from app.tasks.contract import Array
from app.tasks.forecasting.backtest import Slicer
from app.tasks.forecasting.encoding import Hidden, gather_inputs, gather_targets
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.normalization import History, Panel, build_panel
from app.typedefs import Json

Gathered = tuple[Array, Array, Array, Array]  # inputs, lengths, targets, weights

DRAWS = 1024  # an epoch takes at least so many windows
HIDE = 0.15  # how often training conceals what a request may lack
SHORT = 0.1  # how often a training view is of a short history
SHORTS, MINIMUM = 256, 8  # short histories, and points in one
GOLDEN = 0.6180339887
POWER = 0.5  # of the scale in the weight of an error


def reach(state: Json) -> int:
    """How many points up to the origin the inputs of a context look at."""
    return int(state["context"] + max(state["window"], state["lag"]))


class Windows:
    """Training examples: each series equally often, a random stretch of it each time.

    A few views are of a history too short to show its season, as some requests are.
    """

    def __init__(self, state: Json, pieces: list[list[History]]) -> None:
        self._state = state
        self._pieces = pieces
        self._counts = np.array([len(group) for group in pieces])
        self._firsts = np.concatenate([[0], np.cumsum(self._counts)[:-1]])  # (series,) first piece
        self._series = np.tile(np.arange(len(pieces)), max(1, -(-DRAWS // len(pieces))))  # (examples,)
        longest = np.array([max(len(piece.values) for piece in group) for group in pieces])
        self.lengths = np.minimum(longest, state["context"])[self._series]  # (examples,)

    @cached_property
    def _panel(self) -> Panel:
        flat = [piece for group in self._pieces for piece in group]
        short = short_histories(self._state, self._pieces)
        self._shorts = len(short)
        return build_panel(self._state, Frequency.parse(self._state["freq"]), flat + short)[0]

    def gather(self, rows: Array, rng: "np.random.Generator | None") -> Gathered:
        """Gather stretches; without `rng` the last one of each series, nothing concealed."""
        state, panel, series = self._state, self._panel, self._series[rows]
        pieces, hidden, chance = self._firsts[series], None, np.zeros(len(rows))
        if rng is not None:
            pieces = pieces + rng.integers(0, self._counts[series])
            short = int(self._counts.sum()) + rng.integers(0, max(self._shorts, 1), len(rows))
            pieces = np.where(rng.random(len(rows)) < SHORT * bool(self._shorts), short, pieces)
            hidden = Hidden(*(rng.random((4, len(rows))) < HIDE))
            chance = rng.random(len(rows))
        lengths = np.minimum(self.lengths[rows], panel.lengths[pieces])
        room = panel.lengths[pieces] - lengths
        first = room - (chance * (room + 1)).astype(np.int64)
        inputs = gather_inputs(state, panel, pieces, first, int(lengths.max()), hidden)
        return inputs, lengths, *gather_targets(state, panel, pieces, first, lengths, POWER)


def short_histories(state: Json, pieces: list[list[History]]) -> list[History]:
    """The ends of some histories, too short to show the season they have, as those of some requests are."""
    if not state["seasons"]:
        return []
    found = []
    limit = 2 * max(state["seasons"]) - 1
    for turn in range(max(SHORTS, len(pieces))):
        group = pieces[turn % len(pieces)]
        history = group[turn // len(pieces) % len(group)]
        most = min(limit, len(history.values))
        share = (turn + 1) * GOLDEN % 1  # evenly spread without a random source
        found.append(_last(history, max(1, round(most ** (1 - share) * min(MINIMUM, most) ** share))))
    return found


def _last(history: History, keep: int) -> History:
    """The last points of a history."""
    cut = len(history.values) - keep
    return replace(
        history,
        values=history.values[cut:],
        start=None if history.start is None else history.start + cut,
        past=None if history.past is None else history.past[cut:],
        future=None if history.future is None else history.future[cut:],
    )


class Origins:
    """Forecasts to score: one example per series and origin, with the loss at the origin only."""

    def __init__(self, state: Json, slicer: Slicer, places: list[tuple[int, int, int]]) -> None:
        self._state = state
        self._slicer = slicer
        self._places = places  # (series, origin, limit of known targets)
        self.lengths = np.array([min(origin, state["context"]) for _, origin, _ in places], np.int64)

    def history(self, row: int) -> History:
        """What the forecast of one example may read, and the targets it must not."""
        return self._slicer.history(*self._places[row])

    def past(self, row: int) -> Array:
        """All values before the origin of one example."""
        series, origin, _ = self._places[row]
        return self._slicer.values(series, origin)

    def gather(self, rows: Array, _: "np.random.Generator | None") -> Gathered:
        """Gather the steps before each origin; nothing is random."""
        state, lengths = self._state, self.lengths[rows]
        histories = [self.history(row) for row in rows.tolist()]
        panel, _normalised = build_panel(state, Frequency.parse(state["freq"]), histories, reach(state))
        picked = np.arange(len(rows))
        first = panel.lengths - lengths
        inputs = gather_inputs(state, panel, picked, first, int(lengths.max()))
        targets, weights = gather_targets(state, panel, picked, first, lengths, POWER)
        weights[np.arange(weights.shape[1]) < lengths[:, None] - 1] = 0
        return inputs, lengths, targets, weights
