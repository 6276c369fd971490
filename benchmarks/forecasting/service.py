"""Trainings and forecasts through the service."""

from collections.abc import Sequence

import httpx
import numpy as np

from app.typedefs import Json
from benchmarks.forecasting.competition import PERCENTS, Forecasts, Group
from benchmarks.stack import checked, train

REQUEST = 200  # instances in one prediction request


def predictions(
    http: httpx.Client, model: str, instances: Sequence[Json], **parameters: object
) -> list[Json]:
    """The predictions of any number of instances."""
    found: list[Json] = []
    for first in range(0, len(instances), REQUEST):
        body = {"instances": instances[first : first + REQUEST], "parameters": parameters}
        found += checked(http.post(f"/v1/models/{model}/predict", json=body))["predictions"]
    return found


def forecasts(http: httpx.Client, model: str, group: Group) -> Forecasts:
    """A group's forecasts from the end of its training part."""
    instances = [
        {"values": line["target"], "start": line["start"], "item_id": line["item_id"]}
        for line in group.lines("train")
    ]
    found = predictions(http, model, instances, level=list(PERCENTS))
    bounds = {
        percent: (
            np.array([one["intervals"][str(percent)]["lower"] for one in found]),
            np.array([one["intervals"][str(percent)]["upper"] for one in found]),
        )
        for percent in PERCENTS
    }
    return Forecasts(np.array([one["median"] for one in found]), bounds)


def trained(
    http: httpx.Client, dataset: str, model: str, horizon: int, cell: str, training: Json
) -> tuple[Json, float]:
    """A version with default options but for cell, seed and ensemble, and the seconds that it took."""
    body = {"task": "forecasting", "dataset": dataset, "model": model, "options": {"horizon": horizon}}
    job, seconds = train(http, body | {"network": {"cell": cell}, "training": training})
    version = checked(http.get(f"/v1/models/{model}/versions/{job['model_version']}"))
    return version, seconds
