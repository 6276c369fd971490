"""Models of forecasts for the benchmark: what is asked of them, and how it is answered elsewhere."""

import csv
import math
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import orjson
import pytest

from benchmarks.serving.generator.messages import Corpus
from benchmarks.serving.generator.verification import right
from benchmarks.serving.peers.same_work.work import Work
from benchmarks.serving.requests.series import (
    FORECASTS,
    FUTURE,
    HORIZON,
    PAST,
    TARGET,
    Weather,
    describe,
    instances,
    make,
    read_days,
)
from benchmarks.serving.requests.versions import Made, Row
from tests.benchmarks.peers import ask_peer

DAYS, VALUES = 200, 64
SMALL = Row("small", "forecasting", "small", DAYS, 1)


def weather_table(path: Path) -> Path:
    """Days of a smooth year, as the real file has them."""
    first = date(2024, 1, 1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "precipitation", TARGET, "temp_min", "wind", "weather", "split"])
        for day in range(DAYS):
            warm = round(12 + 9 * math.sin(day / 30) + day % 7 / 5, 1)
            when = (first + timedelta(day)).strftime("%Y/%m/%d")
            writer.writerow([when, day % 5, warm, warm - 6, 2 + day % 3, "rain", "train"])
    return path


@pytest.fixture(scope="module", params=[False, True], ids=["values", "covariates"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Corpus]:
    directory = tmp_path_factory.mktemp("series")
    weather = Weather(SMALL, VALUES, request.param)
    return make(weather, weather_table(directory / "data.csv"), directory / "made")


@pytest.fixture
def made(pair: tuple[Made, Corpus]) -> Made:
    return pair[0]


@pytest.fixture
def network(pair: tuple[Made, Corpus]) -> Corpus:
    return pair[1]


def test_requests_are_what_users_send(tmp_path: Path) -> None:
    days = read_days(weather_table(tmp_path / "data.csv"))
    first, *others = instances(days, Weather(SMALL, VALUES, covariates=True))
    assert len(others) == DAYS - VALUES - HORIZON
    assert first["start"] == "2024-01-01"
    assert first["values"] == [float(day[TARGET]) for day in days[:VALUES]]
    assert {name: len(column) for name, column in first["past"].items()} == dict.fromkeys(
        (*PAST, *FUTURE), VALUES
    )
    assert {name: len(column) for name, column in first["future"].items()} == {"wind": HORIZON}
    (plain, *_) = instances(days, Weather(SMALL, VALUES, covariates=False))
    assert plain == {"values": first["values"], "start": "2024-01-01"}


def test_short_and_long_series_come_with_and_without_covariates() -> None:
    assert [(one.row.name, one.values, one.covariates) for one in FORECASTS] == [
        ("forecast-64", 64, False),
        ("forecast-512", 512, False),
        ("forecast-64-covariates", 64, True),
        ("forecast-512-covariates", 512, True),
    ]


def test_each_answer_has_the_whole_horizon_and_no_warning(made: Made) -> None:
    for answer in made.corpus.outputs:
        assert isinstance(answer, dict)
        assert len(answer["mean"]) == len(answer["timestamps"]) == HORIZON
        assert "warnings" not in answer
    assert len(set(made.corpus.bodies)) == len(made.corpus.bodies) > 100


def test_another_request_s_answer_is_noticed(made: Made) -> None:
    first, second, *_ = made.corpus.outputs
    assert not right(orjson.dumps({"predictions": [second]}), first)


def test_a_batch_of_the_same_work_answers_as_each_alone(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_MODEL", str(made.artifact / "model.onnx"))
    work, corpus = Work(), made.corpus
    parsed = [work.parse(body) for body in corpus.bodies]
    assert parsed == [work.convert(orjson.loads(body)) for body in corpus.bodies]
    for prediction, expected in zip(work.predict(parsed), corpus.outputs, strict=True):
        assert right(orjson.dumps({"predictions": [prediction]}), expected)


def test_the_peer_answers_rightly(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = ask_peer("same_work.forecast_app", made, monkeypatch)
    for reply, expected in zip(replies, made.corpus.outputs, strict=True):
        assert reply.status_code == 200
        assert right(reply.content, expected)


def test_the_bare_network_is_asked_with_the_same_inputs(
    made: Made, network: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its replies, decoded, would be the forecasts: the peer for bare networks gives what the graph does."""
    replies = ask_peer("fastapi_app", replace(made, corpus=network), monkeypatch, "/infer")
    assert len(replies) == len(made.corpus.bodies)
    for reply, expected in zip(replies, network.outputs, strict=True):
        assert reply.status_code == 200
        assert right(reply.content, expected)
    (tensor,) = orjson.loads(network.bodies[0])["inputs"]
    assert tensor["shape"][:2] == [1, network.steps[0]]
    assert network.steps == made.corpus.steps


def test_it_tells_what_is_asked(made: Made, network: Corpus) -> None:
    line = describe(made, network)
    assert line.startswith(
        f"small (small, {made.parameters:,} parameters): {len(network.bodies)} requests of"
    )
    assert f"the network reads {network.steps[0]} steps" in line


def test_without_the_data_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nowhere\.csv is not on this machine"):
        make(FORECASTS[0], tmp_path / "nowhere.csv", tmp_path / "made")
