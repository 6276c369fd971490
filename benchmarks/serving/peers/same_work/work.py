"""What these servers share. They import the project's tasks, whose packages are in `requirements.txt`."""

import os
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.serving.requests.reader import Reader


class Work:
    """One model: instances in, predictions out."""

    def __init__(self) -> None:
        self._reader = Reader(Path(os.environ["BENCH_MODEL"]).parent)
        self.instance = self._reader.task.instance
        fields = [("instances", list[self.instance])]
        self._request = msgspec.defstruct("Request", fields)
        self._decoder = msgspec.json.Decoder(self._request)

    def parse(self, body: bytes) -> Any:
        """The only instance of a request's body."""
        return self._decoder.decode(body).instances[0]

    def convert(self, message: dict) -> Any:
        """The same of a body that is parsed already."""
        return msgspec.convert(message, self._request).instances[0]

    def predict(self, instances: list[Any]) -> list[dict]:
        """A batch of instances to as many predictions."""
        return self._reader.decode(self._reader.encode(instances))
