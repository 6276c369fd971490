"""The client against a whole service: the two lines of the README, and every text task, in seconds."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from recurra import (
    AsyncClient,
    Client,
    GeneratedText,
    InvalidInput,
    InvalidRequest,
    JobFailed,
    LabelPrediction,
    NotFound,
    TaggedText,
    Translation,
)
from tests.support.fixtures.stack import Stack

TRAINING = {"epochs": 2, "batch_size": 512}
SMALL = {"hidden_size": 16}
MONTHS = 60
TABLES: dict[str, Any] = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[Client]:
    with Client(str(stack.http.base_url)) as made:
        yield made


def sales(stores: tuple[int, ...] = (7, 8)) -> pd.DataFrame:
    """Monthly sales of some stores."""
    months = pd.date_range("2020-01-01", periods=MONTHS, freq="MS")
    rows = [
        (store, month, 100.0 + 10 * store + number + 5 * (number % 12), number % 12 == 11)
        for store in stores
        for number, month in enumerate(months)
    ]
    return pd.DataFrame(rows, columns=["store", "month", "sold", "holiday"])


ROLES: dict[str, Any] = {"id": "store", "time": "month", "target": "sold"}


@pytest.fixture(scope="module")
def model(client: Client) -> Any:
    return client.train(
        sales(), task="forecasting", model="py-sales", horizon=6, training=TRAINING, network=SMALL, **ROLES
    )


@pytest.mark.parametrize("library", TABLES)
def test_a_frame_comes_back_as_a_frame(client: Client, model: Any, library: str) -> None:
    frame = TABLES[library](sales().to_dict("list"))
    forecast = model.predict(frame, level=[80, 95])
    assert isinstance(forecast, TABLES[library])
    assert list(forecast.columns) == [
        "store", "month", "mean", "median", "lo-95", "lo-80", "hi-80", "hi-95",
    ]  # fmt: skip
    assert forecast["store"].to_list() == [7] * 6 + [8] * 6
    assert forecast["month"].to_list()[0] == pd.Timestamp("2025-01-01")
    assert forecast["store"].dtype == frame["store"].dtype
    assert forecast["month"].dtype == frame["month"].dtype
    low, high = forecast["lo-95"].to_list(), forecast["hi-95"].to_list()
    assert all(least < most for least, most in zip(low, high, strict=True))
    there = client.model("py-sales").predict(
        frame, horizon=2
    )  # knows the upload's names by the service alone
    assert there["store"].to_list() == [7, 7, 8, 8]


def test_the_rows_may_be_in_any_order_and_have_gaps(model: Any) -> None:
    frame = sales()
    gaps = frame.drop(index=[3, 70]).sample(frac=1, random_state=7)
    assert len(model.predict(gaps, horizon=1)) == 2
    with pytest.raises(InvalidInput, match="no column sold"):
        model.predict(frame.drop(columns="sold"))
    with pytest.raises(InvalidRequest, match="/parameters/level/0: The model knows levels up to"):
        model.predict(frame, level=[99.9])
    with pytest.raises(InvalidRequest, match="/parameters/horizon"):
        model.predict(frame, horizon=7)


def test_what_is_known_ahead_is_a_frame_of_its_own(client: Client, model: Any) -> None:
    frame = sales()
    ahead = pd.DataFrame(
        {"store": [7, 8], "month": [pd.Timestamp("2025-01-01")] * 2, "holiday": [False, False]}
    )
    trained = client.train(
        frame, task="forecasting", model="py-ahead", horizon=1, training=TRAINING, network=SMALL,
        future_covariates=["holiday"], level=[90], **ROLES,
    )  # fmt: skip
    assert list(trained.predict(frame, future=ahead).columns)[-2:] == ["lo-90", "hi-90"]
    with pytest.warns(UserWarning, match="holiday"):
        trained.predict(frame)
    late = ahead.assign(month=pd.Timestamp("2026-01-01"))
    with pytest.warns(UserWarning, match="of series 7 has no row for 2025-01-01; .* without holiday"):
        trained.predict(frame, future=late)
    with pytest.warns(UserWarning, match="future has no column holiday"):
        trained.predict(frame, future=ahead.drop(columns="holiday"))
    with pytest.warns(UserWarning, match=r"instance 0: `(past|future)` lacks 'holiday'|instance 0: `start`"):
        trained.predict([list(map(float, range(MONTHS)))])


def test_faults_of_the_service_are_in_the_words_of_the_frame(client: Client, model: Any) -> None:
    frame = sales((7,)).set_index(pd.Index(range(100, 100 + MONTHS)))
    faulty = frame.assign(sold=[*["many"], *frame["sold"][1:]])
    with pytest.raises(InvalidRequest, match=r"/file/row/2/column/y: .* \[column sold, row 100\]"):
        client.add_dataset(faulty, task="forecasting", progress=False, **ROLES)
    with pytest.raises(InvalidRequest, match=r"/instances/0: values/0 .*\[series 7\]"):
        model.predict(faulty)
    with pytest.raises(InvalidRequest, match='id="store"'):
        client.add_dataset(sales(), task="forecasting", progress=False, time="month", target="sold")


def test_a_data_set_is_not_sent_again(client: Client, model: Any) -> None:
    dataset = client.dataset(model.version().dataset_id)
    assert dataset.summary["series"] == 2
    forecasts = model.predict(dataset, horizon=2)
    assert [(one.item_id, len(one.mean)) for one in forecasts] == [("7", 2), ("8", 2)]
    again = client.add_dataset(sales(), task="forecasting", progress=False, **ROLES)
    assert again.id == dataset.id
    assert [row["item_id"] for row in again.preview(2)] == ["7", "8"]
    assert again.example(1)["item_id"] == "8"
    job = model.predict_dataset(dataset, horizon=2).wait(progress=False)
    assert [line["item_id"] for line in job.result()] == ["7", "8"]


def test_curves_versions_jobs_and_aliases(client: Client, model: Any, tmp_path: Path) -> None:
    assert [epoch["epoch"] for epoch in model.curves()][:2] == [1, 2]
    assert {"smape", "mase"} <= {name for name, _, _ in model.version().comparison()}
    job = model.version().job()
    assert (job.status, job.version_number) == ("succeeded", 1)
    assert job.id in [one.id for one in client.jobs(model="py-sales")]
    assert [event["type"] for event in job.events()][-1] == "status"
    assert job.diagnostics()["verdict"] in {"ok", "vanishing", "exploding", "saturated"}
    assert model.download(tmp_path / "a.zip").read_bytes()[:2] == b"PK"
    second = client.train(
        client.dataset(job.data["dataset"]), task="forecasting", model="py-sales", horizon=6,
        training=TRAINING, network=SMALL, quantiles=[0.1, 0.9],
    )  # fmt: skip
    assert (second.number, client.model("py-sales").aliases["production"]) == (2, 1)
    assert client.model("py-sales").promote(2).aliases == {"production": 2}
    assert second.promote(alias="canary").aliases["canary"] == 2
    assert [version.number for version in second.versions()] == [2, 1]
    assert {"py-sales"} <= {one.name for one in client.models()}


def test_an_evaluation_compares_versions(model: Any) -> None:
    evaluation = model.evaluate(sales(), progress=False)
    assert set(evaluation.versions) == {1}
    assert "seasonal_naive" in evaluation.baselines
    assert evaluation.examples == 2
    assert "smape" in evaluation._repr_html_()


def test_what_fails_says_why(client: Client) -> None:
    with pytest.raises(NotFound, match="py-nothing"):
        client.model("py-nothing")
    with pytest.raises(InvalidRequest, match="/options/horizon"):
        client.train(sales(), task="forecasting", model="py-fails", progress=False, **ROLES)
    job = client.start_training(
        sales(), task="forecasting", model="py-fails", horizon=6, training={"epochs": 500}, **ROLES
    )
    job.cancel()
    with pytest.raises(JobFailed, match="cancelled"):
        job.wait(progress=False)
    assert job.done


def test_texts_are_classified(client: Client) -> None:
    texts, labels = ["a joy to see", "a dull mess"] * 40, ["pos", "neg"] * 40
    model = client.train(
        texts, labels, task="classification", model="py-mood", training=TRAINING, network=SMALL
    )
    one = model.predict("a joy", top_k=1)
    assert isinstance(one, LabelPrediction)
    assert len(one.scores) == 1
    assert len(model.predict(texts)) == 80
    table = model.predict(pd.DataFrame({"text": texts[:2], "id": [1, 2]}))
    assert list(table.columns) == ["text", "id", "prediction", "probability"]
    assert set(model.evaluate(texts, labels, progress=False).versions) == {1}


def test_tokens_are_tagged(client: Client) -> None:
    tokens, tags = [["Ann", "flew", "home"], ["Bo", "sang"]] * 20, [["B-per", "O", "O"], ["B-per", "O"]] * 20
    model = client.train(tokens, tags, task="tagging", model="py-names", training=TRAINING, network=SMALL)
    first, second = model.predict([["Ann", "sang"], "Bo flew home"])
    assert isinstance(first, TaggedText)
    assert (first.tokens, second.tokens) == (["Ann", "sang"], ["Bo", "flew", "home"])


def test_pairs_are_translated(client: Client) -> None:
    pairs = [("good day", "buenos dias"), ("good night", "buenas noches")] * 30
    model = client.train(pairs, task="translation", model="py-es", training=TRAINING, network=SMALL)
    one = model.predict("good day", max_tokens=8)
    assert isinstance(one, Translation)
    assert one.score <= 0


def test_a_text_is_generated_and_streamed(client: Client) -> None:
    text = "It was a dark and stormy night; the rain fell in torrents.\n" * 60
    model = client.train(text, task="generation", model="py-novel", training=TRAINING, network=SMALL)
    whole = model.predict("It was", max_tokens=12, seed=7)
    assert isinstance(whole, GeneratedText)
    pieces = list(model.stream("It was", max_tokens=12, seed=7))
    assert "".join(map(str, pieces)) == whole.text
    assert pieces[-1].finish_reason in {"stop", "length"}


def test_the_asynchronous_client_does_the_same(client: Client, model: Any) -> None:
    async def run() -> None:
        async with AsyncClient(client.url) as other:
            there = await other.model("py-sales", version=1)
            forecast = await there.predict(sales(), level=[80])
            expected = model.predict(sales(), level=[80], version=1)
            pd.testing.assert_frame_equal(forecast, expected)
            job = await (await there.version()).job()
            assert [state.status async for state in job.watch()] == ["succeeded"]
            assert [event["seq"] async for event in job.events()][:1] == [1]
            assert len(await there.curves()) == len(model.version(1).curves())

    asyncio.run(run())
