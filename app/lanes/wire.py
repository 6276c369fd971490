"""What travels in a lane: key names, messages and their encoding, imported by both sides."""

from enum import StrEnum

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

REPLY_SECONDS = 30  # an unread reply list disappears, so a dead API process leaves nothing
PRESENCE_SECONDS = 5  # a silent predictor counts as gone
BLOCK_SECONDS = 2.0  # a blocking pop sleeps this long in the server before it asks again
FLOAT = np.dtype("<f4")


def lane_key(name: str) -> str:
    """The list of encoded requests that wait in a lane."""
    return f"recurra:lane:{name}"


def predictors_key(name: str) -> str:
    """The set of worker ids that have served a lane; those without a presence key are gone."""
    return f"recurra:lane:{name}:predictors"


def predictor_key(worker_id: str) -> str:
    """One predictor's presence; expires when it is not refreshed."""
    return f"recurra:predictor:{worker_id}"


def control_key(worker_id: str) -> str:
    """A list of orders to one predictor: an artifact to load ahead of its use, or nothing but a wake-up."""
    return f"recurra:predictor:{worker_id}:control"


def reply_key(process: str) -> str:
    """The list of encoded replies to one API process."""
    return f"recurra:reply:{process}"


class Tensor(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A float32 array: its shape and its little-endian bytes in C order, decoded without a copy."""

    shape: tuple[int, ...]
    data: memoryview

    @classmethod
    def of(cls, array: npt.NDArray[np.floating]) -> "Tensor":
        """Wrap an array; other dtypes and layouts are converted."""
        return cls(array.shape, memoryview(array.astype(FLOAT, copy=False).tobytes()))

    def array(self) -> Floats:
        """A read-only view of the values; raises `ValueError` when the bytes do not fill the shape."""
        return np.frombuffer(self.data, FLOAT).reshape(self.shape)


class Request(msgspec.Struct, array_like=True, frozen=True):
    """All instances of one call; times are wall-clock epoch seconds."""

    id: int
    reply: str  # where the answer goes
    sent: float
    deadline: float
    artifact: str  # storage prefix of the model version, such as artifacts/job_x/1
    instances: list[Tensor]  # each (time, features)


class Status(StrEnum):
    """How a request ended."""

    OK = "ok"
    EXPIRED = "expired"
    ERROR = "error"
    MISSING = "missing"
    AWAY = "away"  # the version's files cannot be fetched now


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """One output per instance in order, or why there is none."""

    id: int
    status: Status
    outputs: list[Tensor] = []
    queue_seconds: float = 0.0  # from being sent to the start of its first batch
    compute_seconds: float = 0.0
    message: str = ""
    batch: int = 0  # rows, of all requests, in the batches that computed this one


class Presence(msgspec.Struct, frozen=True):
    """What a predictor says about itself every second."""

    worker_id: str
    boot: str  # differs between two lives of the same worker id
    pid: int
    device: str
    lane: str
    versions: list[str]  # artifacts it has loaded


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode
decode_presence = msgspec.msgpack.Decoder(Presence).decode
