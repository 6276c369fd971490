"""Predictions whose instances have the names of the upload that the version was trained on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.tasks.contract import Plan
from tests.support.factories.forecasters import forecasting, plan_of, publish
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, problem, service

HORIZON = 3
COLUMNS = {"unique_id": "shop", "ds": "date", "y": "sales"}
DAYS = 30


def date(day: int) -> str:
    return str(np.datetime64("2024-01-01") + day)


def rows(days: int = DAYS, ahead: int = HORIZON, shops: int = 2) -> list[dict[str, Any]]:
    """Rows of the upload, with the covariate of the days to forecast."""
    return [
        {
            "shop": f"s{shop}",
            "date": date(day),
            "sales": 10 + shop + day % 7 if day < days else None,
            "promo": day % 3,
            "kind": "large" if shop else "small",
        }
        for shop in range(shops)
        for day in range(days + ahead)
    ]


def native(shop: int, days: int = DAYS, ahead: int = HORIZON) -> dict[str, Any]:
    return {
        "item_id": f"s{shop}",
        "start": date(0),
        "values": [10 + shop + day % 7 for day in range(days)],
        "past": {"promo": [day % 3 for day in range(days)]},
        "future": {"promo": [day % 3 for day in range(days, days + ahead)]},
        "static": {"kind": "large" if shop else "small"},
    }


def as_columns(shop: int) -> dict[str, Any]:
    own = [row for row in rows() if row["shop"] == f"s{shop}"]
    columns: dict[str, Any] = {name: [row[name] for row in own] for name in ("date", "promo")}
    columns["sales"] = [row["sales"] for row in own if row["sales"] is not None]
    return columns | {"shop": f"s{shop}", "kind": own[0]["kind"]}


@pytest.fixture(scope="module")
def plan() -> Plan:
    names = list(rows()[0])
    lines = [",".join("" if row[name] is None else str(row[name]) for name in names) for row in rows()]
    return plan_of("\n".join([",".join(names), *lines]).encode(), COLUMNS, horizon=HORIZON)


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey, plan: Plan
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("named")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(directory, f"sqlite:///{directory / 'test.db'}", redis_server.url) as made:
        publish(made, directory / "one", plan, columns=COLUMNS)
        with forecasting(made, plan):
            until(lambda: post(made, [{"values": [1.0]}]).is_success, what="the first answer")
            yield made


def post(running: Service, instances: list[Any], **parameters: Any) -> httpx.Response:
    body = {"instances": instances, "parameters": parameters}
    return running.http.post("/v1/models/demand/predict", json=body)


def predicted(running: Service, instances: list[Any], **parameters: Any) -> list[dict[str, Any]]:
    answer = post(running, instances, **parameters)
    assert answer.status_code == 200, answer.text
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def test_rows_of_the_upload_are_series(serving: Service) -> None:
    expected = predicted(serving, [native(0), native(1)])
    assert predicted(serving, rows()) == expected
    assert [one["item_id"] for one in expected] == ["s0", "s1"]
    assert expected[0]["timestamps"][0] == date(DAYS)
    canonical = {"shop": "unique_id", "date": "ds", "sales": "y"}
    renamed = [{canonical.get(name, name): cell for name, cell in row.items()} for row in rows()]
    assert predicted(serving, renamed) == expected


def test_rows_may_come_in_any_order(serving: Service) -> None:
    shuffled = [rows()[row] for row in np.random.default_rng(1).permutation(len(rows()))]
    by_name = {one["item_id"]: one for one in predicted(serving, shuffled)}
    assert [by_name["s0"], by_name["s1"]] == predicted(serving, [native(0), native(1)])


def test_time_stamps_without_a_row_are_missing_values(serving: Service) -> None:
    gappy = [row for row in rows(shops=1) if row["date"] not in (date(4), date(5))]
    expected = native(0)
    for step in (4, 5):
        expected["values"][step] = expected["past"]["promo"][step] = None
    assert predicted(serving, gappy) == predicted(serving, [expected])


def test_a_series_may_be_columns(serving: Service) -> None:
    expected = predicted(serving, [native(0), native(1)], horizon=2)
    assert predicted(serving, [as_columns(0), as_columns(1)], horizon=2) == expected


def test_large_requests_may_have_such_names_too(serving: Service) -> None:
    long = [{"shop": "a", "date": date(day), "sales": day % 7} for day in range(3000)]
    (one,) = predicted(serving, long)
    expected = {"item_id": "a", "start": date(0), "values": [day % 7 for day in range(3000)]}
    assert [one] == predicted(serving, [expected])


def test_a_missing_covariate_and_an_unknown_level_are_warnings(serving: Service) -> None:
    some = [{**row, "kind": "huge"} for row in rows(shops=1)]
    for row in some:
        del row["promo"]
    (one,) = predicted(serving, some)
    assert len(one["warnings"]) == 3
    assert [
        word for word in ("`past` lacks", "`future` lacks", "'huge'") if word in " ".join(one["warnings"])
    ]
    native_one = {**native(0), "past": {}, "future": {}, "static": {"kind": "huge"}}
    assert [one] == predicted(serving, [native_one])


BAD: dict[str, tuple[list[Any], str, str]] = {
    "a date that is none": ([*rows(shops=1)[:5], {"date": "soon", "sales": 1}], "/instances/5/date", "soon"),
    "two rows of a day": (rows(shops=1)[:5] + rows(shops=1)[4:5], "/instances/5/date", "Another row"),
    "a row without a date": (
        [{"sales": 1}, {"sales": 2, "date": date(0)}],
        "/instances/0/date",
        "is missing",
    ),
    "a row without a value": ([{"date": date(0)}], "/instances/0", "there is no y"),
    "an unknown column": (
        [{"sales": 1, "date": date(0), "colour": "red"}],
        "/instances/0/colour",
        "it knows promo, kind",
    ),
    "a value that is none": ([{"date": date(0), "sales": "many"}], "/instances/0", "'many' is not a number"),
    "a list in a row": ([{"date": [date(0)], "sales": 1}], "/instances/0/date", "one value"),
    "lists of two lengths": ([{"date": [date(0)], "sales": [1, 2]}], "/instances/0/date", "1 time stamps"),
    "rows and columns": (
        [{"date": date(0), "sales": 1}, {"date": [date(0)], "sales": [1]}],
        "/instances/1/sales",
        "one value in others",
    ),
    "two names for one": ([{"date": date(0), "ds": date(0), "sales": 1}], "/instances/0", "one purpose"),
    "a column that is not static": (
        [{"date": date(day), "sales": 1, "kind": kind} for day, kind in enumerate(("small", "large"))],
        "/instances/0/kind",
        "static",
    ),
    "too far apart": (
        [{"date": "1700-01-01", "sales": 1}, {"date": "2200-01-01", "sales": 1}],
        "/instances/0/sales",
        "steps",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_that_are_no_series_are_refused_with_their_place(serving: Service, case: str) -> None:
    sent, pointer, text = BAD[case]
    (error,) = problem(post(serving, sent), 422)["errors"]
    assert error["pointer"] == pointer
    assert text in error["detail"]


def test_what_has_no_such_names_is_refused_as_ever(serving: Service) -> None:
    (error,) = problem(post(serving, [{"valuse": [1]}]), 422)["errors"]
    assert error["detail"].startswith("unknown field valuse; did you mean values?")
    (error,) = problem(post(serving, [{"values": []}]), 422)["errors"]
    assert error["pointer"] == "/instances/0/values"
    broken = serving.http.post("/v1/models/demand/predict", content=json.dumps([{"date": 1}]))
    assert problem(broken, 422)["errors"][0]["pointer"] == ""
