"""The four groups of the M3 competition, and forecasts of all series of one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.metrics import naive_scales
from app.typedefs import Json
from tests.support.fixtures.real_data import ROOT

PERCENTS = (80, 95)  # of intervals


@dataclass(frozen=True)
class Forecasts:
    """Of all series of a group."""

    median: Array  # (series, horizon)
    bounds: Mapping[int, tuple[Array, Array]]  # by percent: lower and upper, (series, horizon) each


@dataclass(frozen=True)
class Published:
    """The competition's own sMAPE of two methods (Makridakis & Hibon 2000)."""

    naive2: float
    theta: float


@dataclass(frozen=True)
class Group:
    """One group of the M3 competition."""

    name: str
    horizon: int
    season: int
    published: Published

    def path(self, part: str) -> Path:
        """The file of a part, train or test."""
        return ROOT / "forecasting" / f"m3_{self.name}.{part}.jsonl"

    def lines(self, part: str) -> list[Json]:
        """The group's series, in the order of the training file."""
        return [json.loads(line) for line in self.path(part).read_text().splitlines()]

    @cached_property
    def pasts(self) -> Sequence[Array]:
        """What is known of each series, (time,)."""
        return [np.array(line["target"], np.float64) for line in self.lines("train")]

    @cached_property
    def actual(self) -> Array:
        """The values to forecast, (series, horizon)."""
        values = {line["item_id"]: line["target"] for line in self.lines("test")}
        return np.array([values[line["item_id"]] for line in self.lines("train")], np.float64)

    @cached_property
    def scales(self) -> Array:
        """The seasonal naive forecast's mean error in each series' past, (series,)."""
        return np.array([naive_scales(past[None], self.season)[0] for past in self.pasts])


GROUPS = (
    Group("yearly", 6, 1, Published(17.88, 16.90)),
    Group("quarterly", 8, 4, Published(9.95, 8.96)),
    Group("monthly", 18, 12, Published(16.91, 13.85)),
    Group("other", 8, 1, Published(6.30, 4.41)),
)
PUBLISHED_TOTAL = Published(15.47, 13.01)  # over the points of all groups
