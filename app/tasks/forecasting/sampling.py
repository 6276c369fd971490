"""Training windows and forecast origins, gathered as batches from flat arrays."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from app.tasks.arrays import Array
from app.tasks.forecasting.backtest import HistorySlicer
from app.tasks.forecasting.encoding import InputDropout, gather_inputs, gather_targets
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.normalization import History, Panel, build_panel
from app.typedefs import Json

BatchArrays = tuple[Array, Array, Array, Array]  # inputs, lengths, targets, weights

MIN_EPOCH_WINDOWS = 1024
INPUT_DROPOUT = 0.15  # probability that a training window hides a kind of input that a request may lack
SHORT_HISTORY_SHARE = 0.1  # of the training windows are from short histories
MIN_SHORT_HISTORIES = 256
MIN_SHORT_POINTS = 8  # of the shortest of them, where the series has as many
GOLDEN_RATIO = 0.6180339887
SCALE_WEIGHT_POWER = 0.5  # exponent of a position's scale in the weight of its errors


def receptive_field(state: Json) -> int:
    """Points before the origin that the inputs of a whole context depend on."""
    return int(state["context"] + max(state["window"], state["lag"]))


class TrainingWindows:
    """Training examples: each series equally often, and a random window of it each time.

    A share of the windows is from histories too short to show their season, as some requests are.
    """

    def __init__(self, state: Json, histories: list[list[History]]) -> None:
        self._state = state
        self._histories = histories  # of each series
        self._counts = np.array([len(group) for group in histories])
        self._firsts = np.concatenate([[0], np.cumsum(self._counts)[:-1]])  # (series,) first history
        repeats = max(1, -(-MIN_EPOCH_WINDOWS // len(histories)))
        self._series = np.tile(np.arange(len(histories)), repeats)  # (examples,)
        longest = np.array([max(len(history.values) for history in group) for group in histories])
        self.lengths = np.minimum(longest, state["context"])[self._series]  # (examples,)

    @cached_property
    def _panel(self) -> Panel:
        flat = [history for group in self._histories for history in group]
        short = short_histories(self._state, self._histories)
        self._short_count = len(short)
        return build_panel(self._state, Frequency.parse(self._state["freq"]), flat + short)[0]

    def gather(self, rows: Array, rng: "np.random.Generator | None") -> BatchArrays:
        """Gather one window for each row: a random one with `rng`, else the last one with all its inputs."""
        state, panel, series = self._state, self._panel, self._series[rows]
        picked, dropout, shift = self._firsts[series], None, np.zeros(len(rows))
        if rng is not None:
            picked = picked + rng.integers(0, self._counts[series])
            short = int(self._counts.sum()) + rng.integers(0, max(self._short_count, 1), len(rows))
            picked = np.where(
                rng.random(len(rows)) < SHORT_HISTORY_SHARE * bool(self._short_count), short, picked
            )
            dropout = InputDropout(*(rng.random((4, len(rows))) < INPUT_DROPOUT))
            shift = rng.random(len(rows))
        lengths = np.minimum(self.lengths[rows], panel.lengths[picked])
        room = panel.lengths[picked] - lengths
        first = room - (shift * (room + 1)).astype(np.int64)
        inputs = gather_inputs(state, panel, picked, first, int(lengths.max()), dropout)
        return inputs, lengths, *gather_targets(state, panel, picked, first, lengths, SCALE_WEIGHT_POWER)


def short_histories(state: Json, histories: list[list[History]]) -> list[History]:
    """Ends of the training histories that are too short to show their season; none without a season.

    Their lengths are evenly spread on a logarithmic scale by the golden ratio, without a random source.
    """
    if not state["seasons"]:
        return []
    short = []
    limit = 2 * max(state["seasons"]) - 1
    for number in range(max(MIN_SHORT_HISTORIES, len(histories))):
        group = histories[number % len(histories)]
        history = group[number // len(histories) % len(group)]
        max_points = min(limit, len(history.values))
        share = (number + 1) * GOLDEN_RATIO % 1
        points = round(max_points ** (1 - share) * min(MIN_SHORT_POINTS, max_points) ** share)
        short.append(_last_points(history, max(1, points)))
    return short


def _last_points(history: History, count: int) -> History:
    """The last `count` points of a history, with their covariates and the same targets."""
    first = len(history.values) - count
    return replace(
        history,
        values=history.values[first:],
        start=None if history.start is None else history.start + first,
        past=None if history.past is None else history.past[first:],
        future=None if history.future is None else history.future[first:],
    )


class ForecastOrigins:
    """Examples to evaluate: one for each series and origin, with the loss at the origin only."""

    def __init__(self, state: Json, slicer: HistorySlicer, origins: list[tuple[int, int, int]]) -> None:
        self._state = state
        self._slicer = slicer
        self._origins = origins  # (series, origin, limit of known targets)
        self.lengths = np.array([min(origin, state["context"]) for _, origin, _ in origins], np.int64)

    def history(self, row: int) -> History:
        """The history of one example, with its targets."""
        return self._slicer.history(*self._origins[row])

    def values_before(self, row: int) -> Array:
        """All values of the series before the origin of one example."""
        series, origin, _ = self._origins[row]
        return self._slicer.values_before(series, origin)

    def gather(self, rows: Array, _: "np.random.Generator | None") -> BatchArrays:
        """Gather the steps before each origin; nothing is random."""
        state, lengths = self._state, self.lengths[rows]
        histories = [self.history(row) for row in rows.tolist()]
        panel, _normalized = build_panel(
            state, Frequency.parse(state["freq"]), histories, receptive_field(state)
        )
        picked = np.arange(len(rows))
        first = panel.lengths - lengths
        inputs = gather_inputs(state, panel, picked, first, int(lengths.max()))
        targets, weights = gather_targets(state, panel, picked, first, lengths, SCALE_WEIGHT_POWER)
        weights[np.arange(weights.shape[1]) < lengths[:, None] - 1] = 0
        return inputs, lengths, targets, weights
