"""What travels: both kinds of numbers, searches, notes, orders."""

from typing import Any

import msgspec
import numpy as np
import pytest

from app.lanes import Decoded, Reply, Request, Status, Tensor, wire


def travelled(array: Any) -> Any:
    request = Request(1, "r", 1.0, 2.0, "a/1", [Tensor.of(array)])
    return wire.decode_request(wire.encode(request)).instances[0].array()


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
def test_floats_travel_as_float32(dtype: str) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3).T
    found = travelled(array)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("dtype", ["i4", ">i4", "i8", "u2", "i1"])
def test_integers_travel_as_four_bytes_and_arrive_as_int64(dtype: str) -> None:
    array = np.array([[1, 2, 3], [100, 5, 6]]).astype(dtype).T
    tensor = Tensor.of(array)
    assert len(tensor.data) == 4 * array.size
    found = travelled(array)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, array)


def test_a_tensor_without_a_kind_is_floats() -> None:
    old = msgspec.msgpack.encode([[2], np.array([1.5, 2.5], "<f4").tobytes()])
    found = msgspec.msgpack.decode(old, type=Tensor)
    assert found.array().tolist() == [1.5, 2.5]


def test_integers_that_do_not_fill_their_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="reshape"):
        Tensor((3,), memoryview(b"1234" * 2), wire.INTS).array()


def test_a_search_and_a_note_travel_with_their_instance() -> None:
    search: list[Any] = [
        {"max_tokens": 5, "stop": ["a"], "seed": 2**63 - 1},
        {"beam_size": 4, "length_penalty": 0.8},
    ]
    request = Request(1, "r", 1.0, 2.0, "a/1", [Tensor.of(np.array([[4]]))] * 2, search, parts=True)
    back = wire.decode_request(wire.encode(request))
    assert (back.search, back.parts) == (search, True)
    notes: list[Any] = [{"finish_reason": "stop"}, {"score": -1.5, "attention": [[0.25, 0.75]]}]
    reply = Reply(1, Status.OK, [], 0.1, 0.2, "", 3, Decoded(notes, 9))
    (told,) = wire.decode_replies(wire.encode([reply]))
    assert told.decoded == Decoded(notes, 9, [], "")


def test_a_plain_reply_says_nothing_of_decoding() -> None:
    (told,) = wire.decode_replies(wire.encode([Reply(1, Status.OK)]))
    assert told.decoded is None


def test_an_order_to_drop_a_request_is_told_from_an_artifact() -> None:
    order = wire.cancel_order(wire.reply_key("ab12"), 77)
    assert wire.cancelled(order) == (wire.reply_key("ab12"), 77)
    assert wire.cancelled("artifacts/job_x/1") is None
