"""What travels in a lane: key names, messages and their encoding, imported by both sides."""

from enum import StrEnum

import msgspec
import numpy as np

from app.arrays import Array
from app.errors import Problem
from app.typedefs import Json

REPLY_TTL_SECONDS = 30  # an unread reply list expires, so a dead API process leaves nothing behind
PRESENCE_TTL_SECONDS = 5  # a predictor that stops announcing itself counts as gone
BLOCKING_POP_SECONDS = 2.0  # how long one blocking pop sleeps in the server
FLOAT_DTYPE, INT_DTYPE, BYTE_DTYPE = np.dtype("<f4"), np.dtype("<i4"), np.dtype("u1")
FLOAT_KIND, INT_KIND, BYTE_KIND = range(3)  # values of `Tensor.kind`
DTYPES = (FLOAT_DTYPE, INT_DTYPE, BYTE_DTYPE)  # by kind
CANCEL_PREFIX = "-"  # distinguishes a cancel message from an artifact to preload: none starts with it


def lane_key(name: str) -> str:
    """The list of encoded requests that wait in a lane."""
    return f"recurra:lane:{name}"


def explanation_lane(name: str) -> str:
    """The name of the lane for explanations beside that for predictions."""
    return f"{name}:explanations"


def predictors_key(name: str) -> str:
    """The set of worker ids that have served a lane; those without a presence key are gone."""
    return f"recurra:lane:{name}:predictors"


def predictor_key(worker_id: str) -> str:
    """One predictor's presence; expires when it is not refreshed."""
    return f"recurra:predictor:{worker_id}"


def control_key(worker_id: str) -> str:
    """The list of control messages to one predictor.

    A message is an artifact to preload, a request to cancel, or empty: then it only wakes the predictor.
    """
    return f"recurra:predictor:{worker_id}:control"


def reply_key(process: str) -> str:
    """The list of encoded replies to one API process."""
    return f"recurra:reply:{process}"


def cancel_message(reply_to: str, request_id: int) -> str:
    """The control message that cancels a request; its reply would go to the list `reply_to`."""
    return f"{CANCEL_PREFIX}{request_id}@{reply_to}"


def parse_cancel_message(message: str) -> tuple[str, int] | None:
    """The reply list and id of the request that a control message cancels; None for other messages."""
    if not message.startswith(CANCEL_PREFIX):
        return None
    request_id, _, reply_to = message[len(CANCEL_PREFIX) :].partition("@")
    return reply_to, int(request_id)


class Tensor(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A float32, int32 or uint8 array: shape, little-endian bytes in C order (no copy), and kind."""

    shape: tuple[int, ...]
    data: memoryview
    kind: int = FLOAT_KIND

    @classmethod
    def of(cls, array: Array) -> "Tensor":
        """Wrap an array; other dtypes and layouts are converted. Integers must fit in 32 bits."""
        if array.dtype is FLOAT_DTYPE:
            return cls(array.shape, memoryview(array.tobytes()))
        if array.dtype == BYTE_DTYPE:
            return cls(array.shape, memoryview(array.tobytes()), BYTE_KIND)
        if array.dtype.kind in "iu":
            return cls(array.shape, memoryview(array.astype(INT_DTYPE).tobytes()), INT_KIND)
        return cls(array.shape, memoryview(array.astype(FLOAT_DTYPE).tobytes()))

    def array(self) -> Array:
        """The values as float32 or uint8 (views) or int64; raises `ValueError` when they do not fill it."""
        array = np.frombuffer(self.data, DTYPES[self.kind]).reshape(self.shape)
        return array.astype(np.int64) if self.kind == INT_KIND else array


class Request(msgspec.Struct, array_like=True, frozen=True):
    """All instances of one call; times are wall-clock epoch seconds."""

    id: int
    reply_to: str  # key of the list that the reply goes to
    sent: float
    deadline: float
    artifact: str  # storage prefix of the model version, such as artifacts/job_x/1
    instances: list[Tensor]  # each (time, features); none with a body
    decoding: list[Json] = []  # how to decode each instance step by step; empty: a single forward pass
    stream: bool = False  # whether partial replies are requested while tokens are generated
    body: bytes = b""  # instances and parameters as JSON, where the predictor encodes and decodes them
    rows: int = 0  # instances in the body

    @property
    def size(self) -> int:
        """How many instances there are, in whichever form."""
        return self.rows or len(self.instances)


class ReplyStatus(StrEnum):
    """How a request ended, or that it is still in progress."""

    OK = "ok"
    PARTIAL = "part"  # the tokens generated since the previous partial reply
    EXPIRED = "expired"
    INVALID = "invalid"  # the body has instances that cannot be encoded
    ERROR = "error"
    MISSING = "missing"  # the version has no files
    UNAVAILABLE = "away"  # the version's files cannot be fetched now


class DecodingInfo(msgspec.Struct, array_like=True, frozen=True):
    """What a reply to a request that is decoded step by step says beside its outputs.

    Such a request shares its forward passes with others that come and go: `compute_seconds` of its reply are
    those of `steps` passes, and `batch` is the mean number of instances in a pass.
    """

    notes: list[Json]  # one per instance; in a partial reply, empty for an instance that has not ended
    steps: int = 1  # consecutive forward passes; another request only waits for one of them
    starts: list[int] = []  # partial reply: offset of its first token, per instance; empty: acknowledgement
    instance_id: str = ""  # partial reply: of the predictor process that sent it


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """One output per instance in order, or why there is none."""

    id: int
    status: ReplyStatus
    outputs: list[Tensor] = []
    queue_seconds: float = 0.0  # from being sent to the start of its first batch
    compute_seconds: float = 0.0
    message: str = ""
    batch: int = 0  # rows, of all requests, in the batches that computed this one
    decoded: DecodingInfo | None = None
    predictions: bytes = b""  # a JSON array, in reply to a body: one prediction per instance
    problems: list[Problem] = []  # of a body that is invalid


class PredictorPresence(msgspec.Struct, frozen=True):
    """What a predictor announces about itself every second."""

    worker_id: str
    instance_id: str = msgspec.field(name="boot")  # a new one each time the process starts
    pid: int
    device: str
    lane: str
    versions: list[str]  # artifacts it has loaded


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode
decode_presence = msgspec.msgpack.Decoder(PredictorPresence).decode
