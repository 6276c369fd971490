"""Models of forecasts, trained for seconds with the default architecture, and real series to forecast."""

import csv
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from app.typedefs import Json
from benchmarks.serving.generator.messages import Corpus
from benchmarks.serving.requests.corpus import DIGITS, body
from benchmarks.serving.requests.reader import Reader
from benchmarks.serving.requests.versions import Made, Row, ask, thinned
from tests.support.factories.default_jobs import train_with_defaults

HORIZON = 24  # days
SERIES = 400  # different requests
TARGET, DATE = "temp_max", "date"
PAST = ("precipitation", "temp_min")  # known up to the last value
FUTURE = ("wind",)  # known over the horizon too


@dataclass(frozen=True)
class Weather:
    """What a request of a row has."""

    row: Row
    values: int
    covariates: bool


def _weather(values: int, *, covariates: bool) -> Weather:
    name = f"forecast-{values}" + ("-covariates" if covariates else "")
    return Weather(Row(name, "forecasting", "seattle_weather_daily", 1, 3), values, covariates)


FORECASTS = tuple(_weather(values, covariates=known) for known in (False, True) for values in (64, 512))


def options(weather: Weather) -> Json:
    """Of the training."""
    columns = {"past_covariates": list(PAST), "future_covariates": list(FUTURE)}
    return {"horizon": HORIZON} | (columns if weather.covariates else {})


def read_days(data: Path) -> list[dict[str, str]]:
    """Every day of the file, the first one first."""
    if not data.exists():
        raise SystemExit(f"{data} is not on this machine: set RECURRA_SHARED_DATA to where the data is.")
    with data.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_series(days: list[dict[str, str]], names: tuple[str, ...], path: Path) -> None:
    """A table of the target and of some other columns, as an upload."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["unique_id", "ds", "y", *names])
        writer.writerows(["seattle", day[DATE], day[TARGET], *(day[name] for name in names)] for day in days)


def instances(days: list[dict[str, str]], weather: Weather) -> Iterator[Json]:
    """The last values before each day that can be the first one to forecast, dated."""
    for origin in range(weather.values, len(days) - HORIZON + 1):
        before, after = days[origin - weather.values : origin], days[origin : origin + HORIZON]
        instance: Json = {"values": column(before, TARGET), "start": before[0][DATE].replace("/", "-")}
        if weather.covariates:
            instance["past"] = {name: column(before, name) for name in (*PAST, *FUTURE)}
            instance["future"] = {name: column(after, name) for name in FUTURE}
        yield instance


def column(days: list[dict[str, str]], name: str) -> list[float]:
    """Its numbers."""
    return [float(day[name]) for day in days]


def make(weather: Weather, data: Path, directory: Path) -> tuple[Made, Corpus]:
    """Train, and ask for forecasts; second the same of the bare network, with ready inputs."""
    days = read_days(data)
    directory.mkdir()
    file = directory / "series.csv"
    write_series(days, (*PAST, *FUTURE) if weather.covariates else (), file)
    row = weather.row
    trained = train_with_defaults(row.task, file, directory, options=options(weather), epochs=row.epochs)
    reader = Reader(directory / "out")
    asked = thinned(list(instances(days, weather)), SERIES)
    made = Made(row, directory / "out", ask(reader, asked), trained.parameters)
    return made, ask_network(reader, asked)


def ask_network(reader: Reader, asked: list[Json]) -> Corpus:
    """Requests of the Open Inference Protocol with the inputs of each instance, and the network's outputs."""
    corpus = Corpus([], [], [])
    for instance in asked:
        (example,) = reader.encode([msgspec.convert(instance, reader.task.instance)])
        inputs = example.inputs.round(DIGITS)  # (time, features)
        (output,) = reader.run([inputs])  # (width,)
        corpus.bodies.append(body(inputs))
        corpus.outputs.append(output.tolist())
        corpus.steps.append(len(inputs))
    return corpus


def describe(made: Made, network: Corpus) -> str:
    """What is asked, in a sentence."""
    row, steps = made.row, network.steps[0]
    sizes, bare = (statistics.mean(map(len, one.bodies)) / 1000 for one in (made.corpus, network))
    return (
        f"{row.name} ({row.data}, {made.parameters:,} parameters): {len(made.corpus.bodies)} requests of "
        f"{sizes:.1f} kB; the network reads {steps} steps, {bare:.1f} kB as a tensor"
    )
