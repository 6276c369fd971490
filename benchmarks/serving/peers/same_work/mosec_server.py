"""Mosec as for the bare network, with the task's encoding and decoding around the graph, by the batch."""

from typing import Any

from mosec import Server, Worker

from benchmarks.serving.peers.same_work.work import Work
from benchmarks.serving.requests.reader import reply


class Predictor(Worker):
    """The model process."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def deserialize(self, data: bytes) -> Any:
        """A body to an instance."""
        return self.work.parse(data)

    def forward(self, data: list[Any]) -> list[dict]:
        """A batch of instances to a batch of predictions."""
        return self.work.predict(data)

    def serialize(self, data: dict) -> bytes:
        """A prediction to a body."""
        return reply(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Predictor, num=1, max_batch_size=64, max_wait_time=2, route="/predict")
    server.run()
