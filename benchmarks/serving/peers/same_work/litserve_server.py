"""LitServe as for the bare network, with the task's encoding and decoding around the graph, by the batch."""

import sys
from typing import Any

import litserve as ls
from starlette.responses import Response

from benchmarks.serving.peers.litserve_server import serve
from benchmarks.serving.peers.same_work.work import Work
from benchmarks.serving.requests.reader import reply


class Predictor(ls.LitAPI):
    """The model."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe passes it
        """Load the network in the worker."""
        self.work = Work()

    def decode_request(self, request: dict) -> Any:
        """A parsed body to an instance."""
        return self.work.convert(request)

    def batch(self, inputs: list[Any]) -> list[Any]:
        """As they are."""
        return inputs

    def predict(self, x: list[Any]) -> list[dict]:
        """To predictions."""
        return self.work.predict(x)

    def unbatch(self, output: list[dict]) -> list[dict]:
        """As they are."""
        return output

    def encode_response(self, output: dict) -> Response:
        """A prediction to a ready body, which spares the API process FastAPI's encoder."""
        return Response(reply(output), media_type="application/json")


if __name__ == "__main__":
    serve(Predictor, "/predict", int(sys.argv[1]))
