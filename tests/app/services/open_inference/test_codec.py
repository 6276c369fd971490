"""Whole requests and responses of the protocol: JSON, binary, mixed and raw; and malformed ones."""

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.services.open_inference.codec import (
    MAX_ROWS,
    InferenceRequest,
    OutputTensor,
    Signature,
    join_keys,
    parse_inference_request,
    write_response,
)
from app.tasks.contract import TensorField
from app.typedefs import Json

SIGNATURE = Signature(
    (
        TensorField("x", "FP32", (-1, 2)),
        TensorField("n", "INT64", (), required=False),
        TensorField("who", "BYTES", (), required=False),
    ),
    (TensorField("y", "FP32", (-1,)), TensorField("label", "BYTES", ())),
)
ROWS = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
X: Json = {"name": "x", "datatype": "FP32", "shape": [2, 3, 2], "data": ROWS.tolist()}
N: Json = {"name": "n", "datatype": "INT64", "shape": [2], "data": [3, 1]}
WHO: Json = {"name": "who", "datatype": "BYTES", "shape": [2], "data": ["a", ""]}


def request(*inputs: Json, **fields: Any) -> InferenceRequest:
    return parse_inference_request(json.dumps({"inputs": list(inputs), **fields}).encode(), None, SIGNATURE)


def binary(*inputs: tuple[Json, bytes | None], **fields: Any) -> tuple[bytes, int]:
    entries = []
    for tensor, data in inputs:
        entry = dict(tensor)
        if data is not None:
            del entry["data"]
            entry["parameters"] = {"binary_data_size": len(data)}
        entries.append(entry)
    head = json.dumps({"inputs": entries, **fields}).encode()
    return head + b"".join(data or b"" for _, data in inputs), len(head)


def refused(call: Any) -> str:
    with pytest.raises(Invalid) as caught:
        call()
    return caught.value.message


def test_a_request_in_json() -> None:
    parsed = request(X, N, WHO, id="7", parameters={"horizon": 3}, model_name="m")
    assert (parsed.id, parsed.parameters, parsed.rows) == ("7", {"horizon": 3}, 2)
    np.testing.assert_array_equal(parsed.tensors["x"], ROWS)
    assert parsed.tensors["n"].tolist() == [3, 1]
    assert parsed.tensors["who"].tolist() == ["a", ""]
    assert parsed.outputs == {"y": False, "label": False}


def test_the_same_in_binary_and_mixed() -> None:
    n, who = np.array([3, 1]).tobytes(), b"\1\0\0\0a\0\0\0\0"
    for inputs in (
        [(X, ROWS.tobytes()), (N, n), (WHO, who)],
        [(WHO, who), (X, ROWS.tobytes()), (N, n)],
        [(N, None), (X, ROWS.tobytes()), (WHO, None)],
        [(X, None), (WHO, who), (N, None)],
        [(X, None), (N, None), (WHO, None)],
    ):
        parsed = parse_inference_request(*binary(*inputs), SIGNATURE)
        np.testing.assert_array_equal(parsed.tensors["x"], ROWS)
        assert parsed.tensors["n"].tolist() == [3, 1]
        assert parsed.tensors["who"].tolist() == ["a", ""]


def test_binary_sequences_stay_where_they_are() -> None:
    body, length = binary((X, ROWS.tobytes()))
    parsed = parse_inference_request(body, length, SIGNATURE).tensors["x"]
    assert parsed.base is not None
    assert not parsed.flags.owndata


def test_other_numbers_are_cast() -> None:
    doubles = {**X, "datatype": "FP64"}
    assert request(doubles).tensors["x"].dtype == np.float32
    body, length = binary((doubles, ROWS.astype(np.float64).tobytes()))
    np.testing.assert_array_equal(parse_inference_request(body, length, SIGNATURE).tensors["x"], ROWS)
    whole = {**X, "datatype": "UINT8", "data": list(range(12))}
    np.testing.assert_array_equal(request(whole).tensors["x"], ROWS)


def test_a_raw_body_is_the_one_required_input() -> None:
    parsed = parse_inference_request(ROWS.tobytes(), 0, SIGNATURE)
    np.testing.assert_array_equal(parsed.tensors["x"], ROWS.reshape(1, 6, 2))
    assert (parsed.rows, parsed.parameters, parsed.id) == (1, {}, None)
    assert parsed.outputs == {"y": True, "label": True}
    message = 'input "x": has 7 bytes, shape [1, 0, 2] takes 0'
    assert refused(lambda: parse_inference_request(b"1234567", 0, SIGNATURE)) == message


def test_a_raw_body_may_be_text() -> None:
    signature = Signature((TensorField("text", "BYTES", ()),), SIGNATURE.outputs)
    assert parse_inference_request("wörds".encode(), 0, signature).tensors["text"].tolist() == ["wörds"]
    assert "not UTF-8" in refused(lambda: parse_inference_request(b"\xff", 0, signature))


@pytest.mark.parametrize(
    "inputs",
    [
        (TensorField("a", "FP32", (-1,)), TensorField("b", "FP32", (-1,))),
        (TensorField("a", "FP32", (-1, -1)),),
        (TensorField("a", "FP32", (4,)),),
        (TensorField("a", "BYTES", (-1,)),),
        (TensorField("a", "FP32", (-1,), required=False), TensorField("b", "FP32", (-1,), required=False)),
    ],
)
def test_a_raw_body_must_be_unambiguous(inputs: tuple[TensorField, ...]) -> None:
    message = refused(lambda: parse_inference_request(b"12345678", 0, Signature(inputs, SIGNATURE.outputs)))
    assert message == "a raw body needs a model with one required input of one variable dimension"


@pytest.mark.parametrize(
    ("fields", "outputs"),
    [
        ({}, {"y": False, "label": False}),
        ({"outputs": []}, {"y": False, "label": False}),
        ({"outputs": None, "parameters": None}, {"y": False, "label": False}),
        ({"parameters": {"binary_data_output": True}}, {"y": True, "label": True}),
        ({"outputs": [{"name": "label"}]}, {"label": False}),
        ({"outputs": [{"name": "label"}, {"name": "y"}]}, {"label": False, "y": False}),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, {"y": True}),
        (
            {
                "outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "label"}],
                "parameters": {"binary_data_output": True},
            },
            {"y": False, "label": True},
        ),
    ],
)
def test_outputs_are_chosen_one_by_one(fields: Json, outputs: dict[str, bool]) -> None:
    assert request(X, **fields).outputs == outputs


BAD: dict[str, tuple[Any, str]] = {
    "a list": ([], "The request is no JSON object"),
    "a word": ("inputs", "The request is no JSON object"),
    "no inputs": ({"instances": []}, '"inputs" is missing: the model takes x, n, who'),
    "inputs by another name": (
        {"input": [X]},
        'the model takes x, n, who; there is "input"',
    ),
    "inputs as an object": ({"inputs": {"x": 1}}, '"inputs" is no list of objects'),
    "inputs of numbers": ({"inputs": [1]}, '"inputs" is no list of objects'),
    "no input": ({"inputs": []}, 'input "x" is missing'),
    "only another input": ({"inputs": [N]}, 'input "x" is missing'),
    "without a name": ({"inputs": [{**X, "name": None}]}, "an input has no name"),
    "an unknown input": (
        {"inputs": [X, {**X, "name": "z"}]},
        'input "z": there is no such input; the inputs are x, n, who',
    ),
    "an input twice": ({"inputs": [X, X]}, 'input "x": given twice'),
    "no datatype": (
        {"inputs": [{"name": "x", "shape": [1, 1, 2], "data": [1, 2]}]},
        'input "x": the datatype is one of UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16',
    ),
    "a datatype of the wrong type": ({"inputs": [{**X, "datatype": ["FP32"]}]}, "the datatype is one of"),
    "an unknown datatype": ({"inputs": [{**X, "datatype": "BF16"}]}, 'input "x": the datatype is one of'),
    "a datatype that does not fit": (
        {"inputs": [X, {**N, "datatype": "FP32"}]},
        'input "n": has datatype FP32, takes INT64',
    ),
    "no shape": ({"inputs": [{**X, "shape": None}]}, 'input "x": the shape is no list of sizes'),
    "a shape of text": ({"inputs": [{**X, "shape": ["2", 3, 2]}]}, "the shape is no list of sizes"),
    "a shape of booleans": ({"inputs": [{**X, "shape": [True, 6, 2]}]}, "the shape is no list of sizes"),
    "a negative size": ({"inputs": [{**X, "shape": [2, -1, 2]}]}, "the shape is no list of sizes"),
    "a huge size": ({"inputs": [{**X, "shape": [2**31, 0, 2]}]}, "the shape is no list of sizes"),
    "another rank": ({"inputs": [{**X, "shape": [12]}]}, 'input "x": has shape [12], takes [-1, -1, 2]'),
    "another width": (
        {"inputs": [{**X, "shape": [2, 2, 3]}]},
        'input "x": has shape [2, 2, 3], takes [-1, -1, 2]',
    ),
    "too few values": ({"inputs": [{**X, "data": [1.0]}]}, 'input "x": has 1 elements, shape'),
    "no data": ({"inputs": [{**X, "data": None}]}, 'input "x": data is missing'),
    "data that is no list": ({"inputs": [{**X, "data": 1}]}, 'input "x": data is no list'),
    "a missing value": (
        {"inputs": [{**X, "data": [None, *range(11)]}]},
        'input "x": element [0, 0, 0] is no finite number of FP32',
    ),
    "a boolean": (
        {"inputs": [{**X, "data": [*range(11), True]}]},
        'input "x": element [1, 2, 1] is true, which is no FP32',
    ),
    "batches that differ": (
        {"inputs": [X, {**N, "shape": [3], "data": [1, 1, 1]}]},
        'input "n": has a batch of 3, "x" one of 2',
    ),
    "an empty batch": (
        {"inputs": [{**X, "shape": [0, 3, 2], "data": []}]},
        f"a batch of 0 rows; it may have 1 to {MAX_ROWS}",
    ),
    "too large a batch": (
        {"inputs": [{**X, "shape": [MAX_ROWS + 1, 0, 2], "data": []}]},
        f"a batch of {MAX_ROWS + 1} rows; it may have 1 to {MAX_ROWS}",
    ),
    "an id that is a number": ({"inputs": [X], "id": 7}, '"id" is no string'),
    "parameters as a list": ({"inputs": [X], "parameters": [1]}, '"parameters" is no object'),
    "an input's parameters as a list": (
        {"inputs": [{**X, "parameters": []}]},
        'input "x": its parameters are no object',
    ),
    "an unknown output": (
        {"inputs": [X], "outputs": [{"name": "z"}]},
        'there is no output "z"; the outputs are y, label',
    ),
    "an output without a name": ({"inputs": [X], "outputs": [{}]}, "there is no output null"),
    "an output named by a list": ({"inputs": [X], "outputs": [{"name": []}]}, "there is no output []"),
    "an output twice": (
        {"inputs": [X], "outputs": [{"name": "y"}, {"name": "y"}]},
        'output "y": asked for twice',
    ),
    "classes of an output": (
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 2}}]},
        'output "y": its parameters may be binary_data, and no others',
    ),
    "a wrong flag": (
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
        "binary_data is true or false",
    ),
    "a wrong flag for all": (
        {"inputs": [X], "parameters": {"binary_data_output": "yes"}},
        "binary_data_output is true or false",
    ),
    "binary data without the header": (
        {"inputs": [{**X, "data": None, "parameters": {"binary_data_size": 48}}]},
        'input "x": binary data needs the header Inference-Header-Content-Length',
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_a_sentence(case: str) -> None:
    body, message = BAD[case]
    assert message in refused(lambda: parse_inference_request(json.dumps(body).encode(), None, SIGNATURE))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"inputs=1",
        b'{"inputs":[NaN]}',
        b'{"inputs":[1e999]}',
        b"\xff",
        b"[" * 100_000,
        b'{"inputs":[]} x',
        b'\xef\xbb\xbf{"inputs":[]}',
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert refused(lambda: parse_inference_request(body, None, SIGNATURE)).startswith(
        "The body is not JSON: "
    )


def test_half_a_surrogate_pair_is_pointed_at() -> None:
    message = refused(lambda: parse_inference_request(b'{"id":"\\ud800"}', None, SIGNATURE))
    assert message == "/id: The id is no Unicode text: character 0 is half of a surrogate pair."


def test_booleans_are_detected_wherever_they_are() -> None:
    values = [1.0] * 11
    for data in ([*values, True], [False, *values]):
        for body in (
            json.dumps({"inputs": [{**X, "data": data}]}),
            json.dumps({"inputs": [{**X, "data": data}]}).replace('"data"', '"d\\u0061ta"'),
            json.dumps({"inputs": [N, {**X, "data": data}]}),
            json.dumps({"inputs": [{**X, "data": data}, N], "parameters": {"binary_data_output": False}}),
        ):
            assert "which is no FP32" in refused(
                lambda body=body: parse_inference_request(body.encode(), None, SIGNATURE)
            )
    fine = {"outputs": [{"name": "y", "parameters": {"binary_data": True}}], "inputs": [X]}
    np.testing.assert_array_equal(
        parse_inference_request(json.dumps(fine).encode(), None, SIGNATURE).tensors["x"], ROWS
    )


def test_binary_sizes_must_add_up() -> None:
    body, length = binary((X, ROWS.tobytes()))
    assert refused(lambda: parse_inference_request(body + b"12", length, SIGNATURE)) == (
        "2 bytes behind the last binary tensor belong to none"
    )
    assert refused(lambda: parse_inference_request(body[:-1], length, SIGNATURE)) == (
        'input "x": binary_data_size says 48, 47 bytes are left in the body'
    )
    assert refused(lambda: parse_inference_request(body, len(body) + 1, SIGNATURE)) == (
        f"Inference-Header-Content-Length says {len(body) + 1}, the body has {len(body)} bytes"
    )
    assert "The body is not JSON" in refused(lambda: parse_inference_request(body, length - 1, SIGNATURE))
    short, length = binary((X, ROWS.tobytes()[:-4]))
    assert refused(lambda: parse_inference_request(short, length, SIGNATURE)) == (
        'input "x": has 44 bytes, shape [2, 3, 2] takes 48'
    )


@pytest.mark.parametrize("size", [-1, 48.0, "48", True, None])
def test_a_binary_size_is_a_number_of_bytes(size: Any) -> None:
    entry = {key: value for key, value in X.items() if key != "data"}
    head = json.dumps({"inputs": [{**entry, "parameters": {"binary_data_size": size}}]}).encode()
    message = refused(lambda: parse_inference_request(head + ROWS.tobytes(), len(head), SIGNATURE))
    assert message == 'input "x": ' + (
        "data is missing" if size is None else "binary_data_size is no number of bytes"
    )


def test_data_comes_in_one_form() -> None:
    both = {**X, "parameters": {"binary_data_size": 48}}
    head = json.dumps({"inputs": [both]}).encode()
    message = refused(lambda: parse_inference_request(head + ROWS.tobytes(), len(head), SIGNATURE))
    assert message == 'input "x": has both data and binary_data_size'


FILES = [b"PK\3\4\xff\0", b"\0"]
BASE64 = ["UEsDBP8A", "AA=="]
BINARY_SIGNATURE = Signature(
    (TensorField("audio", "BYTES", (), binary=True),), (TensorField("midi", "BYTES", (), binary=True),)
)
AUDIO: Json = {"name": "audio", "datatype": "BYTES", "shape": [2], "data": BASE64}


def test_a_binary_field_takes_any_bytes() -> None:
    body, length = binary((AUDIO, b"".join(len(file).to_bytes(4, "little") + file for file in FILES)))
    parsed = parse_inference_request(body, length, BINARY_SIGNATURE)
    assert parsed.tensors["audio"].tolist() == FILES
    text = json.dumps({"inputs": [AUDIO]}).encode()
    assert parse_inference_request(text, None, BINARY_SIGNATURE).tensors["audio"].tolist() == FILES
    raw = parse_inference_request(FILES[0], 0, BINARY_SIGNATURE)
    assert (raw.tensors["audio"].tolist(), raw.rows) == (FILES[:1], 1)


def test_a_binary_field_in_json_is_base64() -> None:
    text = json.dumps({"inputs": [{**AUDIO, "data": ["AA==", "größer"]}]}).encode()
    message = refused(lambda: parse_inference_request(text, None, BINARY_SIGNATURE))
    assert message == 'input "audio": element [1] is "größer", which is no base64'


def test_a_binary_output_keeps_its_bytes() -> None:
    request = InferenceRequest(None, {}, {}, 2, {"midi": False})
    tensors = {"midi": OutputTensor(np.array(FILES, object))}
    body, length = write_response("m", 3, request, tensors, BINARY_SIGNATURE)
    assert length is None
    assert json.loads(body)["outputs"] == [
        {"name": "midi", "datatype": "BYTES", "shape": [2], "data": BASE64}
    ]
    body, length = write_response("m", 3, request._replace(outputs={"midi": True}), tensors, BINARY_SIGNATURE)
    assert body[length:] == b"\6\0\0\0PK\3\4\xff\0\1\0\0\0\0"


OUTPUTS = {
    "y": OutputTensor(np.array([[1.5, np.nan], [3, 4]], np.float32), ["0.1", "0.9"]),
    "label": OutputTensor(np.array(["ja", "größer"], object)),
}


OPTIONAL = Signature((TensorField("midi", "BYTES", (), required=False, binary=True),), SIGNATURE.outputs)


@pytest.mark.parametrize("body", [b'{"inputs": []}', b'{"parameters": {"seed": 1}}'])
def test_a_request_may_be_empty_where_nothing_is_required(body: bytes) -> None:
    parsed = parse_inference_request(body, None, OPTIONAL)
    assert (parsed.tensors, parsed.rows) == ({}, 1)
    assert refused(lambda: parse_inference_request(body, None, SIGNATURE))


def test_a_raw_body_may_be_the_only_input_although_it_is_optional() -> None:
    assert parse_inference_request(b"MThd", 0, OPTIONAL).tensors["midi"].tolist() == [b"MThd"]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (["a", "b"], "a,b"),
        (["a, b", "c"], '["a, b","c"]'),
        (["[a", "b]"], '["[a","b]"]'),
        ([], ""),
    ],
)
def test_keys_are_told_apart(keys: list[str], text: str) -> None:
    assert join_keys(keys) == text


def test_a_response_in_json() -> None:
    body, length = write_response("m:network", 3, request(X, id="7"), OUTPUTS, SIGNATURE)
    assert length is None
    assert json.loads(body) == {
        "model_name": "m:network",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {
                "name": "y",
                "datatype": "FP32",
                "shape": [2, 2],
                "data": [1.5, None, 3.0, 4.0],
                "parameters": {"keys": "0.1,0.9"},
            },
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["ja", "größer"]},
        ],
    }


def test_a_response_in_binary() -> None:
    chosen = request(X, parameters={"binary_data_output": True})
    body, length = write_response("m", 3, chosen, OUTPUTS, SIGNATURE)
    assert length is not None
    head, rest = json.loads(body[:length]), body[length:]
    assert "id" not in head
    assert [one["parameters"]["binary_data_size"] for one in head["outputs"]] == [
        16,
        8 + len("jagrößer".encode()),
    ]
    assert all("data" not in one for one in head["outputs"])
    np.testing.assert_array_equal(np.frombuffer(rest[:16], "<f4").reshape(2, 2), OUTPUTS["y"].array)
    assert rest[16:22] == b"\2\0\0\0ja"


def test_only_requested_outputs_are_returned() -> None:
    chosen = request(X, outputs=[{"name": "label", "parameters": {"binary_data": True}}, {"name": "y"}])
    body, length = write_response("m", 3, chosen, OUTPUTS, SIGNATURE)
    head = json.loads(body[:length])
    assert [one["name"] for one in head["outputs"]] == ["label", "y"]
    assert ["data" in one for one in head["outputs"]] == [False, True]
    just = request(X, outputs=[{"name": "y"}])
    (only,) = json.loads(write_response("m", 3, just, OUTPUTS, SIGNATURE)[0])["outputs"]
    assert only["name"] == "y"


@given(st.binary(max_size=60), st.none() | st.integers(0, 70))
def test_no_bytes_make_it_stumble(body: bytes, length: int | None) -> None:
    with suppress(Invalid):
        assert parse_inference_request(body, length, SIGNATURE).tensors


FIELDS = st.sampled_from(["name", "shape", "datatype", "data", "parameters", "binary_data_size", "inputs"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["x", "n", "FP32", "BYTES", "BOOL"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(FIELDS, ANYTHING), ANYTHING, ANYTHING, st.sampled_from([None, ..., b"12345678"]))
def test_no_json_makes_it_stumble(entry: Json, parameters: Any, outputs: Any, rest: Any) -> None:
    message = {"inputs": [{**X, **entry}], "parameters": parameters, "outputs": outputs}
    head = json.dumps(message).encode()
    body, length = (head, None) if rest is None else (head + (b"" if rest is ... else rest), len(head))
    with suppress(Invalid):
        assert parse_inference_request(body, length, SIGNATURE).rows > 0
