"""Mosec: Rust in front, one worker process that batches up to 64 requests within 2 ms, orjson both ways.

Options (`--port`, `--address`) are mosec's own.
"""

import numpy as np
import orjson
from mosec import Server, Worker

from benchmarks.serving.peers.network import Network, array, tensor


class Lstm(Worker):
    """The model process."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network()

    def deserialize(self, data: bytes) -> np.ndarray:
        """A body to (time, features)."""
        return array(orjson.loads(data)["inputs"][0])

    def forward(self, data: list[np.ndarray]) -> list[np.ndarray]:
        """A batch of inputs to a batch of outputs."""
        return list(self.network.run(np.stack(data)))

    def serialize(self, data: np.ndarray) -> bytes:
        """An output (width,) to a body."""
        return orjson.dumps({"outputs": [tensor(data)]})


if __name__ == "__main__":
    server = Server()
    server.append_worker(Lstm, num=1, max_batch_size=64, max_wait_time=2, route="/infer")
    server.run()
