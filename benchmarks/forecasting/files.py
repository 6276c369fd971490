"""The tables of files with a split of their own, and of the errors of each long series beside MSTL."""

import csv
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from app.arrays import Array
from app.tasks.forecasting.metrics import seasonal_naive
from app.typedefs import Json
from benchmarks.forecasting import service
from benchmarks.report import ROOT as PROJECT
from benchmarks.report import table
from benchmarks.stack import upload
from tests.support.fixtures.real_data import ROOT

PEERS = "benchmarks.forecasting.peers.statsforecast_models"
MAX_HISTORY = 6_720  # values of a request: twenty weeks of half hours


@dataclass(frozen=True)
class File:
    """A file with a split of its own."""

    name: str
    path: Path
    horizon: int
    columns: dict[str, str] = field(default_factory=dict)
    seasons: Sequence[int] = ()  # steps; of a file whose series are also compared one by one


FOLDER = ROOT / "forecasting"
FILES = (
    File(
        "Seattle, daily maximum",
        FOLDER / "seattle_weather_daily.csv",
        14,
        {"ds": "date", "y": "temp_max"},
    ),
    File(
        "Stock indices, close",
        FOLDER / "stock_indices_daily.csv",
        10,
        {"unique_id": "symbol", "ds": "Date", "y": "Close"},
    ),
    File("Pedestrians, hourly", FOLDER / "pedestrian_hourly.csv", 24, seasons=(24, 168)),
)


@dataclass(frozen=True)
class LongSeries:
    """A series on a regular grid, NaN = missing, with the place of its first test value."""

    start: np.datetime64
    step: np.timedelta64
    values: Array  # (time,)
    first_test: int

    def instance(self, origin: int) -> Json:
        """What is known at an origin, as a request has it."""
        first = max(0, origin - MAX_HISTORY)
        values = [None if np.isnan(value) else float(value) for value in self.values[first:origin]]
        return {"values": values, "start": str(self.start + first * self.step)}

    def mean_error(self, horizon: int, forecasts: Sequence[Array]) -> float:
        """The mean absolute error of forecasts (horizon,), one at each origin."""
        errors = []
        for origin, forecast in zip(self.origins(horizon), forecasts, strict=True):
            actual = self.values[origin : origin + horizon]
            errors.append(np.abs(actual - forecast[: len(actual)]))
        return float(np.nanmean(np.concatenate(errors)))

    def origins(self, horizon: int) -> range:
        """Of the windows that are compared."""
        return range(self.first_test, len(self.values), horizon)


def demand(python: Path, directory: Path) -> File:
    """Half-hourly demand of electricity, which a package of the other environment has."""
    path = directory / "demand_half_hourly.csv"
    subprocess.run([python, "-m", PEERS, "demand", path], cwd=PROJECT, check=True)
    return File("Electricity demand, half-hourly", path, 48, seasons=(48, 336))


def others(
    http: httpx.Client, files: Sequence[File], cells: Sequence[str], python: Path | None, directory: Path
) -> tuple[str, str]:
    """The two tables."""
    rows, single = list[list[object]](), list[list[object]]()
    for file in files:
        dataset = upload(http, file.path, task="forecasting", columns=json.dumps(file.columns))
        shown, baseline, errors = list[str](), dict[str, float](), dict[str, dict[str, float]]()
        for cell in cells:
            model = f"{file.path.stem}-{cell}"
            version, seconds = service.trained(http, dataset, model, file.horizon, cell, {})
            metrics, baseline = version["metrics"], version["baseline"]
            shown.append(f"**{metrics['smape']:.2f}** / {metrics['mase']:.3f} ({seconds:.0f} s)")
            print(file.name, cell, shown[-1], f"coverage {metrics['coverage']:.2f}", flush=True)
            if file.seasons:
                errors[cell] = rolling_errors(http, model, file)
        rows.append([file.name, file.horizon, f"{baseline['smape']:.2f} / {baseline['mase']:.3f}", *shown])
        if file.seasons:
            single += _by_series(file, cells, errors, python, directory)
    head = ["file", "horizon", "seasonal naive, sMAPE / MASE", *cells]
    by_series = ["series", "a week before", "MSTL with ETS", *cells]
    return table(head, rows), table(by_series, single)


def _by_series(
    file: File,
    cells: Sequence[str],
    errors: dict[str, dict[str, float]],
    python: Path | None,
    directory: Path,
) -> Iterator[list[object]]:
    peers = _peers(python, file, directory) if python else {}
    for name, series in long_series(file.path).items():
        found = [f"{errors[cell][name]:.1f}" for cell in cells]
        repeated = f"{repeated_error(series, file):.1f}"
        yield [name, repeated, f"{peers[name]:.1f}" if peers else "not measured", *found]


def _peers(python: Path, file: File, directory: Path) -> dict[str, float]:
    out = directory / "errors.json"
    arguments = ["rolling", file.path, file.horizon, out, *file.seasons]
    subprocess.run([str(part) for part in (python, "-m", PEERS, *arguments)], cwd=PROJECT, check=True)
    found: dict[str, float] = json.loads(out.read_text())
    return found


def long_series(path: Path) -> dict[str, LongSeries]:
    """The series of a CSV in long form by name; time stamps that are left out become missing values."""
    rows: dict[str, list[tuple[np.datetime64, float, str]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            stamp = np.datetime64(row["ds"].removesuffix("Z").replace(" ", "T"), "s")
            rows.setdefault(row["unique_id"], []).append((stamp, float(row["y"] or "nan"), row["split"]))
    found = {}
    for name, points in rows.items():
        points.sort()
        stamps = np.array([stamp for stamp, _, _ in points])
        step = np.diff(stamps).min()
        places = ((stamps - stamps[0]) // step).astype(np.int64)
        values = np.full(int(places[-1]) + 1, np.nan)
        values[places] = [value for _, value, _ in points]
        first = next(place for place, (_, _, split) in zip(places, points, strict=True) if split == "test")
        found[name] = LongSeries(stamps[0], step, values, int(first))
    return found


def rolling_errors(http: httpx.Client, model: str, file: File) -> dict[str, float]:
    """The mean absolute error of the medians of each series, window after window of its test part."""
    errors = {}
    for name, series in long_series(file.path).items():
        instances = [series.instance(origin) for origin in series.origins(file.horizon)]
        found = service.predictions(http, model, instances)
        errors[name] = series.mean_error(file.horizon, [np.array(one["median"]) for one in found])
    return errors


def repeated_error(series: LongSeries, file: File) -> float:
    """The mean absolute error of the values one longest season before."""
    season = max(file.seasons)
    forecasts = [
        seasonal_naive(series.values[None, :origin], season, file.horizon)[0]
        for origin in series.origins(file.horizon)
    ]
    return series.mean_error(file.horizon, forecasts)
