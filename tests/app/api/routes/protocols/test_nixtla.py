"""TimeGPT's own client against this service: forecasts, intervals, windows, covariates, limits, errors."""

import logging
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.tasks.contract import Plan
from app.typedefs import Json
from tests.support.factories.forecasters import forecasting, plan_of, publish
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, problem, service

HORIZON, DAYS = 5, 60
QUANTILES = [0.05, 0.1, 0.5, 0.9, 0.95]
START = np.datetime64("2024-01-01")


def value(series: int, day: int) -> float:
    return 10.0 + 5 * series + day % 7


def table(series: int = 2, ahead: int = 0) -> bytes:
    """A CSV of daily series; with `ahead` there is a covariate that is known so far."""
    rows = ["unique_id,ds,y,past_only,known" if ahead else "unique_id,ds,y"]
    for name in range(series):
        for day in range(DAYS + ahead):
            cell = value(name, day) if day < DAYS else ""
            past = day % 5 if day < DAYS else ""
            rows.append(f"s{name},{START + day},{cell}" + (f",{past},{day % 3}" if ahead else ""))
    return "\n".join(rows).encode()


@pytest.fixture(scope="module")
def pandas() -> Any:
    return import_module("pandas")


@pytest.fixture(scope="module")
def nixtla() -> Any:
    """The client's package, imported only where it is used: it is large, and sets up logging."""
    level, handlers = logging.root.level, logging.root.handlers[:]
    package = import_module("nixtla")
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers
    return package


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(table(), horizon=HORIZON, quantiles=QUANTILES)


def opened(directory: Path, template: Path, redis: Valkey, **settings: Any) -> Any:
    (directory / "test.db").write_bytes(template.read_bytes())
    return service(directory, f"sqlite:///{directory / 'test.db'}", redis.url, **settings)


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey, plan: Plan
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("nixtla")
    with opened(directory, sqlite_template, redis_server, max_request_bytes=3_000_000) as made:
        publish(made, directory / "one", plan, "sales")
        with forecasting(made, plan):
            until(lambda: post(made, model="sales").is_success, what="the first answer")
            yield made


def client_of(nixtla: Any, running: Service, key: str = "none", **options: Any) -> Any:
    url = f"{str(running.http.base_url).rstrip('/')}/nixtla"
    return nixtla.NixtlaClient(base_url=url, api_key=key, max_retries=1, **options)


@pytest.fixture(scope="module")
def client(nixtla: Any, serving: Service) -> Any:
    return client_of(nixtla, serving)


@pytest.fixture(scope="module")
def frame(pandas: Any) -> Any:
    days = range(DAYS)
    return pandas.DataFrame(
        [
            {"unique_id": f"s{name}", "ds": START + day, "y": value(name, day)}
            for name in (0, 1)
            for day in days
        ]
    )


def post(running: Service, path: str = "forecast", **fields: Any) -> Any:
    series = {"y": [value(0, day) for day in range(DAYS)], "sizes": [DAYS]}
    body: Json = {"series": series, "h": 2, "freq": "D", "model": "sales"}
    return running.http.post(f"/nixtla/v2/{path}", json=body | fields)


def predicted(running: Service, name: int, days: int = DAYS, **parameters: Any) -> Json:
    instance = {"values": [value(name, day) for day in range(days)], "start": str(START), "freq": "D"}
    body = {"instances": [instance], "parameters": parameters}
    (one,) = running.http.post("/v1/models/sales/predict", json=body).json()["predictions"]
    return dict(one)


def test_the_client_forecasts(serving: Service, client: Any, frame: Any) -> None:
    result = client.forecast(frame, h=3, level=[80, 90], model="sales")
    names = ["hi-80", "hi-90", "lo-80", "lo-90"]  # the client sorts them
    assert list(result.columns) == ["unique_id", "ds", "TimeGPT", *(f"TimeGPT-{name}" for name in names)]
    assert result.unique_id.tolist() == ["s0"] * 3 + ["s1"] * 3
    assert result.ds.dt.date.astype(str).tolist() == [str(START + DAYS + step) for step in range(3)] * 2
    for index, name in enumerate(("s0", "s1")):
        own = predicted(serving, index, horizon=3, quantiles=[0.05, 0.1, 0.9, 0.95])
        rows = result[result.unique_id == name]
        assert rows.TimeGPT.tolist() == pytest.approx(own["mean"])
        for column, quantile in zip(names, ("0.9", "0.95", "0.1", "0.05"), strict=True):
            assert rows[f"TimeGPT-{column}"].tolist() == pytest.approx(own["quantiles"][quantile])


def test_quantiles_are_the_clients_way_to_ask_for_levels(serving: Service, client: Any, frame: Any) -> None:
    result = client.forecast(frame, h=2, quantiles=[0.1, 0.5, 0.9], model="sales")
    assert list(result.columns) == ["unique_id", "ds", "TimeGPT", *(f"TimeGPT-q-{q}" for q in (10, 50, 90))]
    own = predicted(serving, 1, horizon=2, quantiles=[0.1, 0.5, 0.9])
    for quantile in ("0.1", "0.5", "0.9"):
        column = f"TimeGPT-q-{int(float(quantile) * 100)}"
        assert result[column].tolist()[2:] == pytest.approx(own["quantiles"][quantile])


def test_the_client_cross_validates(serving: Service, client: Any, frame: Any) -> None:
    result = client.cross_validation(frame, h=2, n_windows=3, step_size=4, level=[80], model="sales")
    assert len(result) == 2 * 3 * 2
    for index, name in enumerate(("s0", "s1")):
        rows = result[result.unique_id == name]
        for window, origin in enumerate((DAYS - 10, DAYS - 6, DAYS - 2)):
            some = rows.iloc[2 * window : 2 * window + 2]
            assert set(some.cutoff.dt.date.astype(str)) == {str(START + origin - 1)}
            assert some.y.tolist() == [value(index, origin), value(index, origin + 1)]
            own = predicted(serving, index, origin, horizon=2, quantiles=[0.1])
            assert some.TimeGPT.tolist() == pytest.approx(own["mean"])
            assert some["TimeGPT-lo-80"].tolist() == pytest.approx(own["quantiles"]["0.1"])


def test_the_default_name_means_the_only_model(client: Any, frame: Any) -> None:
    named = client.forecast(frame, h=2, model="sales")
    assert client.forecast(frame, h=2).equals(named)


def test_several_models_must_be_named(
    tmp_path: Path, sqlite_template: Path, redis_server: Valkey, plan: Plan
) -> None:
    with opened(tmp_path, sqlite_template, redis_server) as made:
        path = "/nixtla/model_params?model=timegpt-1&freq=D"
        assert "train one first" in problem(made.http.get(path), 404)["detail"]
        publish(made, tmp_path / "one", plan, "sales")
        facts = made.http.get(path).json()["detail"]
        assert facts == {"input_size": plan.state["history"], "horizon": HORIZON}
        publish(made, tmp_path / "two", plan, "visits")
        assert "name one of sales, visits" in problem(made.http.get(path), 404)["detail"]
        assert "no model none" in problem(made.http.get("/nixtla/model_params?model=none"), 404)["detail"]


def test_the_client_checks_its_key(
    nixtla: Any, tmp_path: Path, sqlite_template: Path, redis_server: Valkey
) -> None:
    with opened(tmp_path, sqlite_template, redis_server, auth="keys") as made:
        key = made.keyed("alpha").key
        assert client_of(nixtla, made, key).validate_api_key() is True
        assert client_of(nixtla, made, key[:-4] + "xxxx").validate_api_key() is False


def test_covariates_are_those_of_the_model_in_its_order(
    nixtla: Any, pandas: Any, tmp_path: Path, sqlite_template: Path, redis_server: Valkey
) -> None:
    plan = plan_of(table(ahead=HORIZON), horizon=HORIZON)
    assert [spec["name"] for spec in (*plan.state["future"], *plan.state["past"])] == ["known", "past_only"]
    rows = [
        {"unique_id": "s0", "ds": START + day, "y": value(0, day), "known": day % 3, "past_only": day % 5}
        for day in range(DAYS)
    ]
    future = [{"unique_id": "s0", "ds": START + DAYS + day, "known": (DAYS + day) % 3} for day in range(2)]
    frame, ahead = pandas.DataFrame(rows), pandas.DataFrame(future)
    with opened(tmp_path, sqlite_template, redis_server) as made:
        publish(made, tmp_path / "one", plan, "sales")
        with forecasting(made, plan) as predictor:
            until(lambda: post(made).is_success, what="the first answer")
            client = client_of(nixtla, made)
            client.forecast(frame, h=2, X_df=ahead, hist_exog_list=["past_only"], model="sales")
            own = predictor.computed[-1].instances[0].array()
            instance = {  # without a start, which this release of the client does not send
                "values": [row["y"] for row in rows],
                "past": {name: [row[name] for row in rows] for name in ("known", "past_only")},
                "future": {"known": [row["known"] for row in future]},
            }
            body = {"instances": [instance], "parameters": {"horizon": 2}}
            assert made.http.post("/v1/models/sales/predict", json=body).is_success
            assert np.array_equal(own, predictor.computed[-1].instances[0].array())
            with pytest.raises(nixtla.nixtla_client.ApiError, match=r"\['known'\] in `X_df`"):
                client.forecast(frame, h=2, X_df=ahead, model="sales")
            windows = client.cross_validation(frame, h=2, hist_exog_list=["past_only"], model="sales")
            assert len(windows) == 2


def test_a_start_makes_the_forecast_a_dated_one(
    tmp_path: Path, sqlite_template: Path, redis_server: Valkey, plan: Plan
) -> None:
    """Later releases of the client send the time of each series' first value."""
    series = {
        "y": [value(name, day) for name in (0, 1) for day in range(DAYS)],
        "sizes": [DAYS, DAYS],
        "X": None,
        "X_future": None,
        "start_datetime": [f"{START}T00:00:00", str(START + 2)],
    }
    with opened(tmp_path, sqlite_template, redis_server) as made:
        publish(made, tmp_path / "one", plan, "sales")
        with forecasting(made, plan) as predictor:
            until(lambda: post(made).is_success, what="the first answer")
            assert post(made, series=series).is_success
            own = [one.array() for one in predictor.computed[-1].instances]
            for index, day in enumerate((0, 2)):
                values = [value(index, step) for step in range(DAYS)]
                body = {"instances": [{"values": values, "start": str(START + day)}]}
                assert made.http.post("/v1/models/sales/predict", json=body).is_success
                assert np.array_equal(own[index], predictor.computed[-1].instances[0].array())


BAD: dict[str, tuple[Json, str, str]] = {
    "a horizon that was not trained": ({"h": 9}, "/h", "horizon of 5"),
    "too wide an interval": ({"level": [50, 99.999]}, "/level", "levels up to"),
    "another frequency": ({"freq": "W-SUN"}, "/series", "frequency D"),
    "fine-tuning": ({"finetune_steps": 3}, "/finetune_steps", "POST /v1/jobs"),
    "a fine-tuned model": ({"finetuned_model_id": "x"}, "/finetuned_model_id", "not supported"),
    "contributions": ({"feature_contributions": True}, "/feature_contributions", "explain"),
    "several series at once": ({"multivariate": True}, "/multivariate", "own past"),
    "sizes of other values": ({"series": {"y": [1], "sizes": [2]}}, "/series/sizes", "add up to 2"),
    "an unknown field": ({"colour": "red"}, "", "unknown field colour"),
    "nothing observed": ({"series": {"y": [None], "sizes": [1]}}, "/series", "series 0: At least one"),
    "another model": ({"model": "none"}, "", ""),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_done_here_is_refused(serving: Service, case: str) -> None:
    fields, pointer, text = BAD[case]
    answer = post(serving, **fields)
    body = problem(answer, 404 if case == "another model" else 422)
    for error in body["errors"]:
        assert error["pointer"] == pointer
        assert text in error["detail"]


def test_windows_have_limits(serving: Service) -> None:
    body = problem(post(serving, "cross_validation", n_windows=30), 422)
    assert "the series 0 has 60 values; these windows need 61" in body["detail"]
    sizes = [DAYS] * 500
    series = {"y": [1.0] * DAYS * 500, "sizes": sizes}
    body = problem(post(serving, "cross_validation", series=series, n_windows=10), 422)
    assert "in parts" in body["detail"]


def test_the_client_prints_what_is_wrong(nixtla: Any, client: Any, frame: Any) -> None:
    with pytest.raises(nixtla.nixtla_client.ApiError) as refused:
        client.forecast(frame, h=9, model="sales")
    assert refused.value.status_code == 422
    assert "the model sales was trained for a horizon of 5" in str(refused.value)


def test_fitted_values_are_refused_by_the_argument_s_name(nixtla: Any, client: Any, frame: Any) -> None:
    with pytest.raises(nixtla.nixtla_client.ApiError, match="`add_history` is not supported") as refused:
        client.forecast(frame, h=2, model="sales", add_history=True)
    assert refused.value.status_code == 422
    assert "cross_validation" in str(refused.value)


def test_large_requests_come_compressed(serving: Service) -> None:
    series = {"y": [value(0, day) for day in range(DAYS)] * 1000, "sizes": [DAYS] * 1000}
    body = {"series": series, "h": 1, "freq": "D", "model": "sales"}
    content = serving.http.build_request("POST", "/", json=body).content
    packed = import_module("zstandard").compress(content)
    headers = {"content-encoding": "zstd", "content-type": "application/json"}
    answer = serving.http.post("/nixtla/v2/forecast", content=packed, headers=headers)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["mean"]) == 1000
