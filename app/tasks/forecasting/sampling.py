"""Training windows and forecast origins, gathered as batches from flat arrays."""

from collections.abc import Callable

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.backtest import HistorySlicer
from app.tasks.forecasting.encoding import InputDropout, gather_inputs, gather_targets, receptive_field
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.panels.histories import Histories
from app.tasks.forecasting.panels.panel import Panel, build_panel
from app.typedefs import Json

BatchArrays = tuple[Array, Array, Array, Array]  # inputs, lengths, targets, weights

MIN_EPOCH_WINDOWS = 1024
INPUT_DROPOUT = 0.15  # probability that a training window hides a kind of input that a request may lack
SHORT_HISTORY_SHARE = 0.1  # of the training windows are from short histories
MIN_SHORT_HISTORIES = 256
MIN_SHORT_POINTS = 8  # of the shortest of them, where the series has as many
GOLDEN_RATIO = 0.6180339887
SCALE_WEIGHT_POWER = 0.5  # exponent of a position's scale in the weight of its errors


class LatestPanel:
    """The panel of the split that was read last: a training that goes on to another needs the one no more."""

    def __init__(self) -> None:
        self._owner: object = None
        self._panel: Panel | None = None

    def of(self, owner: object, build: Callable[[], Panel]) -> Panel:
        """The panel of `owner`, which `build` makes if it is not there."""
        if self._panel is None or self._owner is not owner:
            self._owner, self._panel = owner, None  # never two of them in memory
            self._panel = build()
        return self._panel


class TrainingWindows:
    """Training examples: each series equally often, and a random window of it each time.

    A share of the windows is from histories too short to show their season, as some requests are, and where
    the state says so a share is turned upside down: what all series have in common is then trusted less.
    """

    def __init__(self, state: Json, slicer: HistorySlicer, origins: Array, latest: LatestPanel) -> None:
        self._state, self._slicer, self._latest = state, slicer, latest
        self._origins = origins  # (histories, 3) those of a series one after the other
        self._firsts = np.flatnonzero(np.diff(origins[:, 0], prepend=-1))  # (series,) first history
        self._counts = np.diff(self._firsts, append=len(origins))  # (series,) histories
        repeats = max(1, -(-MIN_EPOCH_WINDOWS // len(self._firsts)))
        self._series = np.tile(np.arange(len(self._firsts)), repeats)  # (examples,)
        longest = np.maximum.reduceat(np.minimum(origins[:, 1], state["history"]), self._firsts)
        self.lengths = np.minimum(longest, state["context"])[self._series]  # (examples,)

    def sample(self, count: int) -> Histories:
        """The latest history of each of the first series, at most `count`."""
        return self._slicer.histories(self._origins[self._firsts[:count]])

    def _build_panel(self) -> Panel:
        """All histories, and then the short ones."""
        histories = self._slicer.histories(self._origins)
        short = short_histories(self._state, histories, self._firsts, self._counts)
        return build_panel(self._state, Frequency.parse(self._state["freq"]), histories.join(short))

    def gather(self, rows: Array, rng: "np.random.Generator | None") -> BatchArrays:
        """Gather one window for each row: a random one with `rng`, else the last one with all its inputs."""
        state, series = self._state, self._series[rows]
        panel = self._latest.of(self, self._build_panel)
        picked, dropout, sign, shift = self._firsts[series], None, None, np.zeros(len(rows))
        if rng is not None:
            picked = picked + rng.integers(0, self._counts[series])
            short_count = len(panel.lengths) - len(self._origins)
            short = len(self._origins) + rng.integers(0, max(short_count, 1), len(rows))
            picked = np.where(rng.random(len(rows)) < SHORT_HISTORY_SHARE * bool(short_count), short, picked)
            if state["turned"]:
                sign = np.where(rng.random(len(rows)) < state["turned"], np.float32(-1), np.float32(1))
            dropout = InputDropout(*(rng.random((4, len(rows))) < INPUT_DROPOUT))
            shift = rng.random(len(rows))
        lengths = np.minimum(self.lengths[rows], panel.lengths[picked])
        room = panel.lengths[picked] - lengths
        first = room - (shift * (room + 1)).astype(np.int64)
        inputs = gather_inputs(state, panel, picked, first, int(lengths.max()), dropout, sign)
        aims = gather_targets(state, panel, picked, first, lengths, SCALE_WEIGHT_POWER, sign)
        return inputs, lengths, *aims


def short_histories(state: Json, histories: Histories, firsts: Array, counts: Array) -> Histories:
    """Ends of the training histories that are too short to show their season; none without a season.

    Series (series,) have `counts` histories each from `firsts` on. The lengths are evenly spread on a
    logarithmic scale by the golden ratio, without a random source.
    """
    if not state["seasons"]:
        return histories.take(np.zeros(0, np.int64))
    number = np.arange(max(MIN_SHORT_HISTORIES, len(firsts)))
    series = number % len(firsts)
    picked = histories.take(firsts[series] + number // len(firsts) % counts[series])
    max_points = np.minimum(2 * max(state["seasons"]) - 1, picked.lengths)
    share = (number + 1) * GOLDEN_RATIO % 1
    points = max_points ** (1 - share) * np.minimum(MIN_SHORT_POINTS, max_points) ** share
    return picked.last_points(np.maximum(1, points.round().astype(np.int64)))


class ForecastOrigins:
    """Examples to evaluate: one for each series and origin, with the loss at the origin only."""

    def __init__(self, state: Json, slicer: HistorySlicer, origins: Array, latest: LatestPanel) -> None:
        self._state, self._slicer, self._latest = state, slicer, latest
        self._origins = origins  # (examples, 3): series, origin, limit of known targets
        self.lengths: Array = np.minimum(origins[:, 1], state["context"])

    def histories(self, rows: Array) -> Histories:
        """The histories of some examples, with their targets."""
        return self._slicer.histories(self._origins[rows])

    @property
    def per_series(self) -> float:
        """Mean number of origins of a series."""
        return len(self._origins) / max(len(np.unique(self._origins[:, 0])), 1)

    def values_before(self, row: int) -> Array:
        """All values of the series before the origin of one example."""
        series, origin, _ = self._origins[row].tolist()
        return self._slicer.values_before(series, origin)

    def series_names(self, rows: Array) -> list[str]:
        """The id of the series of some examples."""
        return [self._slicer.series_name(index) for index in self._origins[rows, 0].tolist()]

    def gather(self, rows: Array, _: "np.random.Generator | None") -> BatchArrays:
        """Gather the steps before each origin; nothing is random."""
        state, lengths, panel = self._state, self.lengths[rows], self._latest.of(self, self._build_panel)
        first = panel.lengths[rows] - lengths
        inputs = gather_inputs(state, panel, rows, first, int(lengths.max()))
        targets, weights = gather_targets(state, panel, rows, first, lengths, SCALE_WEIGHT_POWER)
        weights[np.arange(weights.shape[1]) < lengths[:, None] - 1] = 0
        return inputs, lengths, targets, weights

    def _build_panel(self) -> Panel:
        histories = self._slicer.histories(self._origins)
        frequency = Frequency.parse(self._state["freq"])
        return build_panel(self._state, frequency, histories, receptive_field(self._state))
