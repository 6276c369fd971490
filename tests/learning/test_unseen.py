"""Default options on series that nobody tuned on: no cell may lose to the seasonal naive forecast."""

import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.task import TASK
from tests.support.factories.series import series_set, store
from workers.nn.recurrent.cells import CELLS
from workers.training.run import train
from workers.training.stages import TrainSpec

Values = npt.NDArray[np.float64]
Make = Callable[[np.random.Generator, int], Values]


class Competition(NamedTuple):
    """Many series of one kind, and how far ahead they are asked for."""

    make: Make
    freq: str
    length: int
    series: int
    horizon: int
    limit: float = 1.0  # of the seasonal naive forecast's error
    measure: str = "smape"


def turn(time: Values, season: float, phase: float = 0.0) -> Values:
    wave: Values = np.sin(2 * np.pi * (time + phase) / season)
    return wave


def hourly(rng: np.random.Generator, length: int) -> Values:
    """A daily shape with weekends, noise, and a few gaps of hours."""
    time = np.arange(length, dtype=float)
    shape = 1 + 0.5 * turn(time, 24, rng.uniform(0, 6)) + 0.2 * turn(time, 12, rng.uniform(0, 6))
    weekend = np.where(time // 24 % 7 >= 5, rng.uniform(0.5, 0.9), 1.0)
    values = rng.lognormal(4, 1) * shape * weekend * np.exp(0.1 * rng.normal(size=length))
    for start in rng.integers(0, length - 24, 4):
        values[start : start + rng.integers(1, 12)] = np.nan
    return np.asarray(values)


def yearly(rng: np.random.Generator, length: int) -> Values:
    """A trend that changes slowly, and noise."""
    growth = rng.normal(0.03, 0.03) + 0.01 * np.cumsum(rng.normal(size=length)) / np.sqrt(length)
    return np.asarray(rng.lognormal(7, 1) * np.exp(np.cumsum(growth + 0.04 * rng.normal(size=length))))


def intermittent(rng: np.random.Generator, length: int) -> Values:
    """Counts of a part that is wanted in some months only.

    An actual zero costs 200 points of sMAPE or none, however small the forecast, so these are judged by MASE:
    Hyndman & Koehler (2006), "Another look at measures of forecast accuracy".
    """
    wanted = rng.random(length) < rng.uniform(0.3, 0.8)
    return np.asarray(wanted * (1 + rng.poisson(rng.uniform(1, 8), length)), np.float64)


def weekly(rng: np.random.Generator, length: int) -> Values:
    """A year's shape that is not quite the season's length, a mild trend and noise."""
    time = np.arange(length, dtype=float)
    level = rng.lognormal(5, 1) * (1 + rng.normal(0, 0.1) * time / length)
    shape = 1 + rng.uniform(0.1, 0.4) * turn(time, 52.18, rng.uniform(0, 52))
    return np.asarray(level * shape * np.exp(0.08 * rng.normal(size=length)))


def quarter_hourly(rng: np.random.Generator, length: int) -> Values:
    """A load with a daily shape and noise that lasts a while, negative at times."""
    time = np.arange(length, dtype=float)
    noise = np.convolve(rng.normal(size=length + 7), np.full(8, 1 / 8), "valid")
    return np.asarray(rng.uniform(0.5, 5) * (2 + 1.5 * turn(time, 96, rng.uniform(0, 96)) + noise))


def quarterly(rng: np.random.Generator, length: int) -> Values:
    """Seasons on a level that jumps now and then."""
    time = np.arange(length)
    jumps = rng.normal(0, 0.3, length) * (rng.random(length) < 0.06)
    shape = np.tile(rng.uniform(0.8, 1.2, 4), length // 4 + 1)[:length]
    level = rng.lognormal(6, 1) * np.exp(np.cumsum(jumps) + 0.002 * time)
    return np.asarray(level * shape * np.exp(0.04 * rng.normal(size=length)))


def walk(rng: np.random.Generator, length: int) -> Values:
    """Prices, of which nothing but the last one is known."""
    return np.asarray(100 * np.exp(np.cumsum(rng.normal(0, rng.uniform(0.005, 0.02), length))))


COMPETITIONS = {
    "hourly": Competition(hourly, "h", 24 * 35, 24, 48),
    "yearly": Competition(yearly, "YS", 32, 120, 6),
    "intermittent": Competition(intermittent, "MS", 72, 80, 12, measure="mase"),
    "weekly": Competition(weekly, "W", 52 * 5, 32, 13),
    "quarter_hourly": Competition(quarter_hourly, "15min", 96 * 14, 12, 96),
    "quarterly": Competition(quarterly, "QS", 60, 80, 8),
    "walk": Competition(walk, "1", 300, 40, 10, 1.03),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", COMPETITIONS)
def test_no_worse_than_the_seasonal_naive_forecast(
    name: str, cell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = COMPETITIONS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = [made.make(rng, made.length) for _ in range(made.series)]
    store(tmp_path, series_set(values, Frequency.parse(made.freq).alias))
    network = {**TASK.network_defaults, "cell": cell, "bidirectional": False}
    training = {**TASK.training_defaults, "seed": 7, "device": "cpu"}
    spec = TrainSpec("forecasting", network, training, {"horizon": made.horizon, "refit": False})
    outcome = train(spec, tmp_path, tmp_path / "out", on=lambda _: None, should_stop=lambda: False)
    figures = [
        f"{measure} {outcome.metrics[measure]:.3f} / {outcome.baseline[measure]:.3f}"
        for measure in ("smape", "mase", "pinball")
    ]
    with capsys.disabled():
        sys.stdout.write(f" {name} {cell}: {', '.join(figures)} ")
    assert outcome.metrics[made.measure] <= made.limit * outcome.baseline[made.measure]
