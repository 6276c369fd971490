"""Predictions of a stored data set as a stranger would use them: `recurra up`, then HTTP and nothing else."""

import json
from typing import Any

from tests.support.fixtures.servers import until
from tests.support.fixtures.service import monthly
from tests.support.fixtures.stack import Stack

COLUMNS = {"ds": "month", "y": "sales", "unique_id": "shop"}


def test_a_data_set_is_answered_as_a_batch_prediction_is(stack: Stack) -> None:
    table = monthly(series=40, months=48).replace(b"unique_id,ds,y", b"shop,month,sales", 1)
    files: Any = {
        "file": ("shops.csv", table),
        "task": (None, "forecasting"),
        "columns": (None, json.dumps(COLUMNS)),
    }
    dataset = stack.http.post("/v1/datasets", files=files).raise_for_status().json()["id"]
    job = stack.wait(stack.submit(dataset, "stored"))
    assert job["status"] == "succeeded", job["error"]
    parameters = {"horizon": 4, "quantiles": [0.1, 0.9]}
    until(lambda: stack.predict("stored").is_success, what="the first answer")
    answer = stack.http.post(
        "/v1/models/stored/predict", json={"dataset": dataset, "parameters": parameters}
    ).raise_for_status()
    body = {"dataset": dataset, "parameters": parameters}
    batch = stack.http.post("/v1/models/stored/batch-predictions", json=body).raise_for_status().json()
    assert stack.wait(batch["id"])["status"] == "succeeded"
    lines = stack.http.get(f"/v1/jobs/{batch['id']}/result").raise_for_status().content.splitlines()
    predictions = answer.json()["predictions"]
    assert [one["item_id"] for one in predictions] == [f"s{shop}" for shop in range(40)]
    for one, line in zip(predictions, lines, strict=True):
        expected = json.loads(line)["prediction"]
        assert one["timestamps"] == expected["timestamps"]
        for mine, other in zip(one["mean"], expected["mean"], strict=True):
            assert abs(mine - other) <= 1e-4 * abs(other)
    # It was the process for large requests that read the data set.
    assert stack.process("--large-requests-of")
    # The version knows the names of its upload.
    header, *rows = table.decode().splitlines()
    named = [
        {"shop": shop, "month": month, "sales": float(sales)}
        for shop, month, sales in (row.split(",") for row in rows[: 2 * 48])
    ]
    assert header == "shop,month,sales"
    answer = stack.http.post("/v1/models/stored/predict", json={"instances": named, "parameters": parameters})
    assert answer.raise_for_status().json()["predictions"] == predictions[:2]
