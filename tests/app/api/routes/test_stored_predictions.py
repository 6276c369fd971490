"""Predictions of a stored data set: the examples of an upload instead of instances."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.services import datasets
from app.services.serving import stored_examples
from app.tasks.contract import Plan
from tests.support.factories.forecasters import forecasting, plan_of, publish
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, problem, service

HORIZON = 3
DAYS = 40


def table(series: int = 3, days: int = DAYS, ahead: int = 0, missing: int | None = None) -> bytes:
    """A CSV of series with a covariate that goes on for `ahead` days after the last value."""
    rows = ["unique_id,ds,y,promo"]
    for name in range(series):
        for day in range(days + ahead):
            value = "" if day >= days or name == missing else f"{10 + name + day % 7}"
            rows.append(f"s{name},{date(day)},{value},{day % 3}")
    return "\n".join(rows).encode()


def date(day: int) -> str:
    return str(np.datetime64("2024-01-01") + day)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(table(ahead=HORIZON), horizon=HORIZON)


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey, plan: Plan
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("stored")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(directory, f"sqlite:///{directory / 'test.db'}", redis_server.url) as made:
        publish(made, directory / "one", plan)
        with forecasting(made, plan):
            until(lambda: post(made, instances=[{"values": [1.0]}]).is_success, what="the first answer")
            yield made


def post(running: Service, **body: Any) -> httpx.Response:
    return running.http.post("/v1/models/demand/predict", json=body)


def uploaded(running: Service, content: bytes, **fields: str) -> str:
    answer = running.upload(content, **fields)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def instance(name: int, days: int = DAYS, ahead: int = 0) -> dict[str, Any]:
    """The series of the table as a request has it."""
    made: dict[str, Any] = {
        "item_id": f"s{name}",
        "start": date(0),
        "freq": "D",
        "values": [10 + name + day % 7 for day in range(days)],
        "past": {"promo": [day % 3 for day in range(days)]},
    }
    return made | ({"future": {"promo": [day % 3 for day in range(days, days + ahead)]}} if ahead else {})


def test_a_data_set_is_forecast_as_its_series_would_be(serving: Service) -> None:
    dataset = uploaded(serving, table(series=5, ahead=HORIZON))
    parameters = {"horizon": 2, "quantiles": [0.1, 0.9]}
    answer = post(serving, dataset=dataset, parameters=parameters)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    expected = post(serving, instances=[instance(n, ahead=HORIZON) for n in range(5)], parameters=parameters)
    assert body == expected.json()
    assert [one["item_id"] for one in body["predictions"]] == [f"s{n}" for n in range(5)]
    assert all("warnings" not in one for one in body["predictions"])


def test_without_rows_after_the_last_value_a_warning_says_what_is_missing(serving: Service) -> None:
    answer = post(serving, dataset=uploaded(serving, table(series=2)))
    assert answer.json() == post(serving, instances=[instance(n) for n in range(2)]).json()
    for one in answer.json()["predictions"]:
        assert ["`future` lacks 'promo'" in warning for warning in one["warnings"]] == [True]


def test_data_that_cannot_be_trained_on_can_be_predicted(serving: Service) -> None:
    dataset = uploaded(serving, table(series=2, days=2, ahead=HORIZON))
    assert serving.http.get(f"/v1/datasets/{dataset}").json()["summary"]["trainable"] is False
    answer = post(serving, dataset=dataset)
    assert len(answer.json()["predictions"]) == 2


def test_a_large_data_set_is_for_batch_predictions(serving: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = uploaded(serving, table(series=4, ahead=1))
    monkeypatch.setattr(stored_examples, "MAX_INSTANCES", 3)
    (error,) = problem(post(serving, dataset=dataset), 422)["errors"]
    assert error["pointer"] == "/dataset"
    assert error["detail"].startswith("has 4 examples, of which a request predicts 3 at most")
    assert "/batch-predictions" in error["detail"]
    monkeypatch.setattr(datasets, "MAX_DATASET_BYTES", 1000)
    (error,) = problem(post(serving, dataset=dataset), 422)["errors"]
    assert "bytes" in error["detail"]
    assert "/batch-predictions" in error["detail"]


def test_an_example_that_cannot_be_predicted_is_named(serving: Service) -> None:
    dataset = uploaded(serving, table(missing=1))
    (error,) = problem(post(serving, dataset=dataset), 422)["errors"]
    assert error["pointer"] == "/dataset"
    assert error["detail"].startswith("example 1, values: At least one value must be observed.")


@pytest.mark.parametrize(
    ("body", "pointer", "text"),
    [
        ({"dataset": "ds", "instances": [{"values": [1]}]}, "/dataset", "not both"),
        ({"dataset": None}, "", "neither"),
        ({"dataset": 5}, "/dataset", "Expected `str | null`"),
        ({"dataset": "ds", "parameters": {"horizon": 0}}, "/parameters/horizon", "1"),
        ({"datasets": "ds"}, "", "did you mean dataset?"),
    ],
)
def test_bad_requests_name_what_is_wrong(
    serving: Service, body: dict[str, Any], pointer: str, text: str
) -> None:
    (error,) = problem(post(serving, **body), 422)["errors"]
    assert error["pointer"] == pointer
    assert text in error["detail"]


def test_what_does_not_fit_the_model_is_refused(serving: Service) -> None:
    problem(post(serving, dataset="ds_none"), 404)
    texts = uploaded(serving, b"text,label\na,x\nb,y\n" * 10, task="classification", name="texts.csv")
    (error,) = problem(post(serving, dataset=texts), 422)["errors"]
    assert error == {"pointer": "/dataset", "detail": "this data set was uploaded for classification"}
    dataset = uploaded(serving, table(ahead=HORIZON))
    (error,) = problem(post(serving, dataset=dataset, parameters={"horizon": 9}), 422)["errors"]
    assert error["pointer"] == "/parameters/horizon"


def test_the_data_set_of_another_project_is_not_there(
    tmp_path: Path, sqlite_template: Path, redis_server: Valkey, plan: Plan
) -> None:
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{tmp_path / 'test.db'}"
    with service(tmp_path, url, redis_server.url, auth="keys") as made:
        own, foreign = made.keyed("alpha"), made.keyed("beta")
        publish(own, tmp_path / "one", plan)
        datasets = {client: uploaded(client, table(series=1, ahead=HORIZON)) for client in (own, foreign)}
        with forecasting(made, plan):
            until(lambda: post(own, dataset=datasets[own]).is_success, what="the first answer")
            assert "ds_" in problem(post(own, dataset=datasets[foreign]), 404)["detail"]
