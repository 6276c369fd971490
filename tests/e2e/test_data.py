"""Files as people have them, through HTTP to a trained model and its forecasts."""

import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.typedefs import Json
from tests.support.fixtures.real_data import shared
from tests.support.fixtures.servers import until
from tests.support.fixtures.stack import Stack

QUICK = {"epochs": 2, "batch_size": 512, "seed": 1}
SMALL = {"hidden_size": 8}
DAYS = 90
HORIZON = 7


class Forecaster:
    """A service that is given files and asked for forecasts."""

    def __init__(self, stack: Stack) -> None:
        self.http = stack.http

    def upload(self, name: str, body: bytes, **fields: str) -> Json:
        files = {"file": (name, io.BytesIO(body))}
        answer = self.http.post("/v1/datasets", files=files, data={"task": "forecasting", **fields})
        assert answer.status_code == 201, answer.text
        found: Json = answer.json()
        return found

    def train(self, dataset: Json, model: str, **options: Any) -> Json:
        """A job that must succeed with metrics that are numbers; gives the version."""
        body = {
            "task": "forecasting", "dataset": dataset["id"], "model": model, "options": options,
            "training": QUICK, "network": SMALL,
        }  # fmt: skip
        answer = self.http.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        path = f"/v1/jobs/{answer.json()['id']}"
        ended = ("succeeded", "failed", "cancelled")
        until(lambda: self.http.get(path).json()["status"] in ended, 90, f"the end of {model}")
        job = self.http.get(path).json()
        assert job["status"] == "succeeded", job["error"]
        version: Json = self.http.get(f"/v1/models/{model}/versions/{job['model_version']}").json()
        for measures in (version["metrics"], version["baseline"]):
            assert {"smape", "mase", "pinball"} <= measures.keys()
            numbers = [value for value in measures.values() if isinstance(value, (int, float))]
            assert all(map(math.isfinite, numbers))
        assert version["metrics"]["smape"] <= 200
        return version

    def ask(self, model: str, *instances: Json, **parameters: Any) -> httpx.Response:
        body = {"instances": list(instances), "parameters": parameters}
        return self.http.post(f"/v1/models/{model}/predict", json=body)

    def forecasts(self, model: str, *instances: Json, **parameters: Any) -> list[Json]:
        answer = self.ask(model, *instances, **parameters)
        assert answer.status_code == 200, answer.text
        found: list[Json] = answer.json()["predictions"]
        assert len(found) == len(instances)
        for one in found:
            assert all(math.isfinite(value) for value in one["mean"])
            ordered = np.array([one["quantiles"][level] for level in ("0.1", "0.5", "0.9")])
            assert (ordered[1:] >= ordered[:-1]).all()
        return found


@pytest.fixture(scope="module")
def forecaster(stack: Stack) -> Forecaster:
    return Forecaster(stack)


def shops() -> bytes:
    """Three shops' days with gaps; promotions are known a week ahead, footfall and weather are not."""
    rng = np.random.default_rng(4)
    rows: list[Json] = []
    for number, shop in enumerate(("nord", "süd", "ost")):
        for day in range(DAYS + HORIZON):
            if number == 1 and 30 <= day < 34:
                continue  # closed: no rows at all
            over = day >= DAYS
            sold = 50 * (number + 1) + 10 * (day % 7) + rng.normal() if day != 11 else None
            rows.append({
                "unique_id": shop,
                "ds": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day),
                "y": None if over else sold,
                "promo": float(day % 5 == 0),
                "footfall": None if over else float(rng.poisson(100)),
                "weather": None if over else ("rain", "sun")[int(rng.random() < 0.5)],
                "region": ("a", "b", "a")[number],
            })  # fmt: skip
    table = pa.Table.from_pylist(rows)
    at = table.column_names.index("region")
    table = table.set_column(at, "region", table["region"].combine_chunks().dictionary_encode())
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=50)
    return sink.getvalue()


@pytest.fixture(scope="module")
def shop_model(forecaster: Forecaster) -> str:
    dataset = forecaster.upload("shops.parquet", shops())
    summary = dataset["summary"]
    assert (dataset["format"], summary["series"], summary["frequency"]) == ("parquet", 3, "D")
    assert summary["rows"] == 3 * (DAYS + HORIZON) - 4
    assert summary["covariates"] == {
        "static": ["region"],
        "numeric": ["promo", "footfall"],
        "category": ["weather"],
    }
    assert summary["known_ahead"] == ["promo"]
    assert (summary["longest"], summary["missing_share"] > 0) == (DAYS, True)
    assert any("4 time stamps of 1 series" in warning for warning in dataset["warnings"])
    version = forecaster.train(dataset, "covariates-of-shops", horizon=HORIZON)
    assert version["options"]["horizon"] == HORIZON
    return "covariates-of-shops"


WEEKS: Json = {"values": [60.0 + 10 * (day % 7) for day in range(42)], "start": "2024-02-01", "freq": "D"}
PAST: Json = {"footfall": [100.0] * 42, "weather": ["sun", None] * 21, "promo": [0.0] * 42}
FUTURE: Json = {"promo": [1.0] * HORIZON}


@pytest.mark.parametrize("without", ["nothing", "past", "future", "static", "everything"])
def test_covariates_are_used_where_given_and_never_needed(
    forecaster: Forecaster, shop_model: str, without: str
) -> None:
    extras = {"past": PAST, "future": FUTURE, "static": {"region": "b"}}
    kept = {} if without == "everything" else {k: v for k, v in extras.items() if k != without}
    (full,) = forecaster.forecasts(shop_model, {**WEEKS, **extras})
    (found,) = forecaster.forecasts(shop_model, {**WEEKS, **kept})
    assert found["timestamps"] == [f"2024-03-{14 + day}" for day in range(HORIZON)]
    assert (found["mean"] == full["mean"]) == (without == "nothing")


@pytest.mark.parametrize(
    ("extra", "pointer"),
    [
        ({"future": {"footfall": [1.0]}}, "/instances/1/future/footfall"),
        ({"past": {"weather": ["sun"]}}, "/instances/1/past/weather"),
        ({"static": {"colour": "red"}}, "/instances/1/static/colour"),
        ({"future": {"promo": ["much"] * HORIZON}}, "/instances/1/future/promo/0"),
        ({"future": {"promo": [1.0]}}, "/instances/1/future/promo"),
    ],
)
def test_a_covariate_that_does_not_fit_is_named(
    forecaster: Forecaster, shop_model: str, extra: Json, pointer: str
) -> None:
    answer = forecaster.ask(shop_model, WEEKS, {**WEEKS, **extra})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_json_lines_with_integer_time_and_features(forecaster: Forecaster) -> None:
    lines = []
    for item in range(4):
        values: list[Any] = [10 * item + step % 4 + 1 for step in range(60)]
        values[5:7] = [None, "NaN"]
        feature = [float(step % 4) for step in range(66)]
        lines.append({
            "item_id": item, "start": 100 * item, "freq": 1, "target": values,
            "cat": [["x", "y"][item % 2]], "dynamic_feat": [feature],
        })  # fmt: skip
    dataset = forecaster.upload("items.jsonl", "\n".join(json.dumps(line) for line in lines).encode())
    summary = dataset["summary"]
    assert (dataset["format"], summary["frequency"], summary["series"]) == ("jsonl", "1", 4)
    assert summary["span"] == {"start": 0, "end": 365}
    assert summary["known_ahead"] == ["feat_0"]
    forecaster.train(dataset, "items", horizon=6)
    instance = {
        "values": [1.0, 2, 3, 4] * 3, "start": 1000, "static": {"cat_0": "y"},
        "future": {"feat_0": [0.0, 1, 2, 3, 0, 1]},
    }  # fmt: skip
    (found,) = forecaster.forecasts("items", instance)
    assert found["timestamps"] == list(range(1012, 1018))


def test_a_wide_file_with_columns_of_other_names(forecaster: Forecaster) -> None:
    text = shared("forecasting/seattle_weather_daily.csv").read_text()
    rows = list(csv.reader(io.StringIO(text)))[:301]
    kept = [place for place, name in enumerate(rows[0]) if name != "split"]  # its tests come later
    body = "\r\n".join(",".join(row[place] for place in kept) for row in rows)
    columns = json.dumps({"ds": "date", "y": "temp_max"})
    dataset = forecaster.upload("seattle.csv", body.encode(), columns=columns)
    summary = dataset["summary"]
    assert (summary["series"], summary["rows"], summary["frequency"]) == (1, 300, "D")
    assert summary["covariates"]["numeric"] == ["precipitation", "temp_min", "wind"]
    assert summary["covariates"]["category"] == ["weather"]
    forecaster.train(dataset, "seattle", horizon=5)
    past = {
        name: [float(row[rows[0].index(name)]) for row in rows[-30:]] for name in ("precipitation", "wind")
    } | {"weather": [row[rows[0].index("weather")] for row in rows[-30:]]}
    values = [float(row[rows[0].index("temp_max")]) for row in rows[-30:]]
    (found,) = forecaster.forecasts("seattle", {"values": values, "past": past, "start": "2012-09-27"})
    assert found["timestamps"][0] == "2012-10-27"
    assert all(-20 < value < 50 for value in found["mean"])


def test_hours_with_gaps(forecaster: Forecaster) -> None:
    begin, rng = datetime(2024, 3, 30, tzinfo=UTC), np.random.default_rng(6)
    rows = ["unique_id,ds,y"]
    for name in ("a", "b"):
        for hour in range(24 * 14):
            if hour % 50 < 3 or (name == "b" and 100 <= hour < 130):
                continue
            stamp = (begin + timedelta(hours=hour)).isoformat()
            rows.append(f"{name},{stamp},{100 + 50 * math.sin(hour * math.pi / 12) + rng.normal():.3f}")
    dataset = forecaster.upload("hours.csv", "\n".join(rows).encode())
    summary = dataset["summary"]
    assert (summary["frequency"], summary["seasons"], summary["longest"]) == ("h", [24, 168], 333)
    assert 0.05 < summary["missing_share"] < 0.2
    forecaster.train(dataset, "hours", horizon=24, season_length=24)
    history = [None if hour % 5 == 0 else 100 + 50 * math.sin(hour * math.pi / 12) for hour in range(96)]
    (found,) = forecaster.forecasts("hours", {"values": history, "start": "2024-05-01T00:00:00+02:00"})
    assert found["timestamps"][0] == "2024-05-04T22:00:00Z"
    expected = [100 + 50 * math.sin((96 + hour) * math.pi / 12) for hour in range(24)]
    assert found["mean"] == pytest.approx(expected, abs=25)  # the season is known even to a hasty model


def test_a_hundred_instances_of_mixed_lengths_in_one_request(forecaster: Forecaster, shop_model: str) -> None:
    rng = np.random.default_rng(8)
    lengths = [1, 2, 3, 1_000, *rng.integers(4, 300, 96).tolist()]
    instances: list[Json] = [
        {"values": (20 + 5 * rng.random(length)).tolist(), "item_id": f"i{at}"}
        for at, length in enumerate(lengths)
    ]
    found = forecaster.forecasts(shop_model, *instances)
    assert [one["item_id"] for one in found] == [f"i{at}" for at in range(100)]
    for at in (0, 3, 50):
        (alone,) = forecaster.forecasts(shop_model, instances[at])
        assert alone["mean"] == pytest.approx(found[at]["mean"], rel=1e-4)


def test_fewer_steps_than_trained_are_the_first_of_them_and_more_are_refused(
    forecaster: Forecaster,
) -> None:
    rows = ["ds,y"] + [f"{1900 + year},{100 + 3 * year + year % 4}" for year in range(80)]
    dataset = forecaster.upload("years.csv", "\n".join(rows).encode())
    assert dataset["summary"]["frequency"] == "YS-JAN"
    forecaster.train(dataset, "years", horizon=6)
    instance = {"values": [300.0 + year for year in range(20)], "start": "1990"}
    (six,) = forecaster.forecasts("years", instance)
    (three,) = forecaster.forecasts("years", instance, horizon=3)
    assert three["mean"] == six["mean"][:3]
    assert three["timestamps"] == ["2010-01-01", "2011-01-01", "2012-01-01"]
    seven = forecaster.ask("years", instance, horizon=7)
    assert seven.status_code == 422
    assert [error["pointer"] for error in seven.json()["errors"]] == ["/parameters/horizon"]
    assert "horizon of 6" in seven.json()["errors"][0]["detail"]


def test_a_file_and_options_that_do_not_fit_are_refused_at_once(forecaster: Forecaster) -> None:
    rows = ["ds,y"] + [f"{1900 + year},{year}" for year in range(12)]
    dataset = forecaster.upload("few.csv", "\n".join(rows).encode())
    body = {"task": "forecasting", "dataset": dataset["id"], "model": "few", "options": {"horizon": 6}}
    answer = forecaster.http.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/options/horizon"]
    assert forecaster.http.get("/v1/models/few").status_code == 404
