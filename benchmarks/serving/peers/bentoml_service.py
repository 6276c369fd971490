"""BentoML: one worker process with adaptive batching of up to 64 requests, no access log."""

import bentoml
import numpy as np

from benchmarks.serving.peers.bodies import Tensor
from benchmarks.serving.peers.network import Network, tensor


@bentoml.service(
    workers=1, traffic={"timeout": 30}, logging={"access": {"enabled": False}}, metrics={"enabled": False}
)
class Lstm:
    """The model; one request's list of one tensor is joined with those of others."""

    def __init__(self) -> None:
        self.network = Network()

    # With a lower `max_latency_ms` than the default it answers 503 at 32 clients and is no faster.
    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=64, route="/infer")
    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        """Tensors of many requests to as many outputs."""
        rows = [np.array(one.data, np.float32).reshape(one.shape[1:]) for one in inputs]  # (time, features)
        return [Tensor(**tensor(output)) for output in self.network.run(np.stack(rows))]
