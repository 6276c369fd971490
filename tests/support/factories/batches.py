"""A small forecasting version and a data set to predict with it, without any training."""

import json
from pathlib import Path

import numpy as np

from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.networks import lstm
from tests.support.factories.networks import store as store_network
from tests.support.factories.series import series_set, store, waves

HORIZON = 4


def version(directory: Path, known: SeriesSet | None = None) -> Json:
    """An untrained network for a data set's series as an artifact in `directory`; gives its state."""
    plan = TASK.plan((known or series_set(waves(6, 60))).arrays(), ForecastingOptions(horizon=HORIZON), 0)
    graph = lstm(plan.features, width=plan.outputs)
    store_network(directory, graph, state=plan.state, task="forecasting")
    return plan.state


def mixed(count: int = 30, seed: int = 0) -> SeriesSet:
    """Series of very different lengths; every tenth has no observed value."""
    rng = np.random.default_rng(seed)
    values = []
    for index in range(count):
        size = int(rng.integers(3, 120))
        level = np.full(size, np.nan) if index % 10 == 9 else 50 + rng.normal(size=size).cumsum()
        values.append(level)
    return series_set(values)


def dataset(directory: Path, series: SeriesSet) -> SeriesSet:
    """The arrays of a data set where a child looks for them."""
    directory.mkdir(parents=True, exist_ok=True)
    store(directory, series)
    return series


def lines(content: bytes) -> list[Json]:
    """JSON Lines, each read."""
    return [json.loads(line) for line in content.splitlines()]
