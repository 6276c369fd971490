"""What travels in a lane: both kinds of numbers, decoding settings, notes, control messages."""

from typing import Any

import msgspec
import numpy as np
import pytest

from app.lanes import DecodingInfo, PredictorPresence, Reply, ReplyStatus, Request, Tensor, wire


def round_trip(array: Any) -> Any:
    request = Request(1, "r", 1.0, 2.0, "a/1", [Tensor.of(array)])
    return wire.decode_request(wire.encode(request)).instances[0].array()


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
def test_floats_travel_as_float32(dtype: str) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3).T
    result = round_trip(array)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("dtype", ["i4", ">i4", "i8", "u2", "i1"])
def test_integers_travel_as_four_bytes_and_arrive_as_int64(dtype: str) -> None:
    array = np.array([[1, 2, 3], [100, 5, 6]]).astype(dtype).T
    tensor = Tensor.of(array)
    assert len(tensor.data) == 4 * array.size
    result = round_trip(array)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, array)


def test_bytes_travel_as_they_are() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    assert len(Tensor.of(array).data) == array.size
    result = round_trip(array)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, array)


def test_a_tensor_without_a_kind_is_floats() -> None:
    old = msgspec.msgpack.encode([[2], np.array([1.5, 2.5], "<f4").tobytes()])
    result = msgspec.msgpack.decode(old, type=Tensor)
    assert result.array().tolist() == [1.5, 2.5]


def test_integers_that_do_not_fill_their_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="reshape"):
        Tensor((3,), memoryview(b"1234" * 2), wire.INT_KIND).array()


def test_decoding_settings_and_notes_travel_with_their_instance() -> None:
    settings: list[Any] = [
        {"max_tokens": 5, "stop": ["a"], "seed": 2**63 - 1},
        {"beam_size": 4, "length_penalty": 0.8},
    ]
    request = Request(1, "r", 1.0, 2.0, "a/1", [Tensor.of(np.array([[4]]))] * 2, settings, stream=True)
    back = wire.decode_request(wire.encode(request))
    assert (back.decoding, back.stream) == (settings, True)
    notes: list[Any] = [{"finish_reason": "stop"}, {"score": -1.5, "attention": [[0.25, 0.75]]}]
    reply = Reply(1, ReplyStatus.OK, [], 0.1, 0.2, "", 3, DecodingInfo(notes, 9))
    (reply_back,) = wire.decode_replies(wire.encode([reply]))
    assert reply_back.decoded == DecodingInfo(notes, 9, [], "")


def test_a_plain_reply_has_no_decoding_info() -> None:
    (reply_back,) = wire.decode_replies(wire.encode([Reply(1, ReplyStatus.OK)]))
    assert reply_back.decoded is None


def test_a_cancel_message_is_distinguished_from_an_artifact() -> None:
    message = wire.cancel_message(wire.reply_key("ab12"), 77)
    assert wire.parse_cancel_message(message) == (wire.reply_key("ab12"), 77)
    assert wire.parse_cancel_message("artifacts/job_x/1") is None


def test_a_presence_travels_under_its_field_names() -> None:
    presence = PredictorPresence("w:0", "f3", 7, "cpu", "default", ["a/1"])
    fields = msgspec.msgpack.decode(wire.encode(presence))
    assert list(fields) == ["worker_id", "boot", "pid", "device", "lane", "versions"]
    assert wire.decode_presence(wire.encode(presence)) == presence
