"""Four calls of Recurra's REST interface, which all examples share."""

import argparse
import os
from pathlib import Path
from typing import Any

import httpx

SAMPLES = Path(__file__).resolve().parents[1] / "app" / "samples"
ENDED = ("succeeded", "failed", "cancelled")


def parse_epochs(default: int) -> int:
    """How many epochs to train: `--epochs` of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=default, help=f"default: {default}")
    return int(parser.parse_args().epochs)


class Service:
    """The service at RECURRA_URL, by default the one that `make up` runs."""

    def __init__(self) -> None:
        url = os.environ.get("RECURRA_URL", "http://127.0.0.1:8000")
        key = os.environ.get("RECURRA_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=60)

    def upload(self, task: str, sample: str) -> str:
        """Upload a sample; returns the id of the data set."""
        with (SAMPLES / sample).open("rb") as file:
            return str(self._call("POST", "/v1/datasets", data={"task": task}, files={"file": file})["id"])

    def train(self, **job: Any) -> dict[str, Any]:
        """Submit a job and wait for its end; returns the version, with metrics beside the baseline's."""
        status = self._call("POST", "/v1/jobs", json=job)
        path = f"/v1/jobs/{status['id']}"
        while status["status"] not in ENDED:
            status = self._call("GET", path, headers={"Prefer": "wait=10"})
        if status["status"] != "succeeded":
            raise SystemExit(f"The job {status['id']} {status['status']}: {status['error']}")
        return self._call("GET", f"/v1/models/{job['model']}/versions/{status['model_version']}")

    def predict(self, version: dict[str, Any], *instances: dict[str, Any], **parameters: Any) -> list[Any]:
        """One prediction for each instance, by this version."""
        path = f"/v1/models/{version['model']}/predict?version={version['version']}"
        body = {"instances": instances, "parameters": parameters}
        return list(self._call("POST", path, json=body)["predictions"])

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        response = self._client.request(method, path, **arguments)
        if response.is_error:
            raise SystemExit(f"{method} {path}: {response.status_code} {response.text}")
        return dict(response.json())
