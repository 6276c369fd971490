"""What travels in a lane: key names, messages and their encoding, imported by both sides."""

from enum import StrEnum

import msgspec
import numpy as np

from app.tasks.contract import Array
from app.typedefs import Json

REPLY_SECONDS = 30  # an unread reply list disappears, so a dead API process leaves nothing
PRESENCE_SECONDS = 5  # a silent predictor counts as gone
BLOCK_SECONDS = 2.0  # a blocking pop sleeps this long in the server before it asks again
FLOAT, INT = np.dtype("<f4"), np.dtype("<i4")  # by kind of tensor
FLOATS, INTS = range(2)
CANCEL = "-"  # before an order to drop a request; no artifact is called so


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
    """A list of orders to one predictor.

    One is an artifact to load ahead of its use, a request to drop, or nothing but a wake-up.
    """
    return f"recurra:predictor:{worker_id}:control"


def reply_key(process: str) -> str:
    """The list of encoded replies to one API process."""
    return f"recurra:reply:{process}"


def cancel_order(reply: str, number: int) -> str:
    """The order to drop the request of that number whose answer would go to `reply`."""
    return f"{CANCEL}{number}@{reply}"


def cancelled(order: str) -> tuple[str, int] | None:
    """The request that an order says to drop, if it says so: where its answer would go, and its number."""
    if not order.startswith(CANCEL):
        return None
    number, _, reply = order[len(CANCEL) :].partition("@")
    return reply, int(number)


class Tensor(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A float32 or int32 array: shape, little-endian bytes in C order, decoded without a copy, and kind."""

    shape: tuple[int, ...]
    data: memoryview
    kind: int = FLOATS

    @classmethod
    def of(cls, array: Array) -> "Tensor":
        """Wrap an array; other dtypes and layouts are converted, integers must be small enough."""
        if array.dtype is FLOAT:
            return cls(array.shape, memoryview(array.tobytes()))
        if array.dtype.kind in "iu":
            return cls(array.shape, memoryview(array.astype(INT).tobytes()), INTS)
        return cls(array.shape, memoryview(array.astype(FLOAT).tobytes()))

    def array(self) -> Array:
        """The values, float32 (a view) or int64; raises `ValueError` when they do not fill the shape."""
        if self.kind == INTS:
            return np.frombuffer(self.data, INT).astype(np.int64).reshape(self.shape)
        return np.frombuffer(self.data, FLOAT).reshape(self.shape)


class Request(msgspec.Struct, array_like=True, frozen=True):
    """All instances of one call; times are wall-clock epoch seconds."""

    id: int
    reply: str  # where the answer goes
    sent: float
    deadline: float
    artifact: str  # storage prefix of the model version, such as artifacts/job_x/1
    instances: list[Tensor]  # each (time, features)
    search: list[Json] = []  # how to decode each step by step; empty: with one forward pass
    parts: bool = False  # whether tokens are wanted as they are found


class Status(StrEnum):
    """How a request ended, or that it goes on."""

    OK = "ok"
    PART = "part"  # tokens that were found since the last one
    EXPIRED = "expired"
    ERROR = "error"
    MISSING = "missing"
    AWAY = "away"  # the version's files cannot be fetched now


class Decoded(msgspec.Struct, array_like=True, frozen=True):
    """What is known beside the outputs where tokens are found step by step.

    Such a request shares its forward passes with others that come and go: `compute_seconds` of its reply are
    those of `steps` passes, and `batch` is how many instances a pass had in the mean.
    """

    notes: list[Json]  # one for each instance; empty in a part if that instance goes on
    steps: int = 1  # passes, one after the other: who comes next waits for one of them
    starts: list[int] = []  # of a part: at which token of each instance it begins; none that only tells `by`
    by: str = ""  # of a part: the boot of the predictor that sends it


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """One output per instance in order, or why there is none."""

    id: int
    status: Status
    outputs: list[Tensor] = []
    queue_seconds: float = 0.0  # from being sent to the start of its first batch
    compute_seconds: float = 0.0
    message: str = ""
    batch: int = 0  # rows, of all requests, in the batches that computed this one
    decoded: Decoded | None = None


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
