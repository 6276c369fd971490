"""LitServe: one API process, one worker process that batches up to 64 requests within 2 ms."""

import sys

import litserve as ls
import numpy as np
import orjson
from starlette.responses import Response

from benchmarks.serving.peers.network import Network, array, tensor


class Lstm(ls.LitAPI):
    """The model."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe passes it
        """Load the network in the worker."""
        self.network = Network()

    def decode_request(self, request: dict) -> np.ndarray:
        """A body to (time, features)."""
        return array(request["inputs"][0])

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """To (batch, time, features)."""
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """To (batch, width)."""
        return self.network.run(x)

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        """To rows (width,)."""
        return list(output)

    def encode_response(self, output: np.ndarray) -> Response:
        """An output to a ready body, which spares the API process FastAPI's encoder."""
        return Response(orjson.dumps({"outputs": [tensor(output)]}), media_type="application/json")


def serve(api: type[ls.LitAPI], path: str, port: int) -> None:
    """Until the process is ended."""
    # `fast_queue` is documented for speed; 0.2.19 takes the argument and goes on with its usual queue.
    server = ls.LitServer(
        api(max_batch_size=64, batch_timeout=0.002, api_path=path),
        accelerator="cpu",
        workers_per_device=1,
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )


if __name__ == "__main__":
    serve(Lstm, "/infer", int(sys.argv[1]))
