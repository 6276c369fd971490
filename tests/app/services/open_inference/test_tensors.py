"""One tensor: JSON and bytes to arrays and back, and every way in which it may not be what it says."""

import base64
import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.services.open_inference.tensors import (
    DTYPES,
    NUMBERS,
    TensorHeader,
    cast_to_field,
    check_shape,
    from_bytes,
    from_json,
    to_bytes,
    to_json,
)
from app.tasks.contract import TensorField

INTEGERS = [name for name in NUMBERS if "INT" in name]
FLOATS = [name for name in NUMBERS if name.startswith("FP")]


def refused(call: Any) -> str:
    with pytest.raises(Invalid) as caught:
        call()
    return caught.value.message


def parsed(datatype: str, shape: tuple[int, ...], data: Any, *, booleans: bool = True) -> Any:
    return from_json(TensorHeader("x", datatype, shape), data, booleans=booleans)


def unpacked(datatype: str, shape: tuple[int, ...], data: bytes) -> Any:
    return from_bytes(TensorHeader("x", datatype, shape), memoryview(data))


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_come_nested_or_flat(datatype: str) -> None:
    nested = [[[1, 2], [3, 4], [5, 6]]]
    for data in (nested, [1, 2, 3, 4, 5, 6]):
        array = parsed(datatype, (1, 3, 2), data)
        assert array.dtype == DTYPES[datatype]
        assert array.tolist() == nested


@pytest.mark.parametrize("datatype", FLOATS)
def test_floats_may_be_written_as_integers_and_be_missing(datatype: str) -> None:
    array = parsed(datatype, (4,), [1, 2.5, None, -0.0])
    assert array[:2].tolist() == [1.0, 2.5]
    assert np.isnan(array[2])
    assert np.signbit(array[3])


@pytest.mark.parametrize("booleans", [True, False])
def test_a_float32_is_the_nearest_to_what_was_written(booleans: bool) -> None:
    values = np.random.default_rng(0).normal(0, 1e3, 512)
    array = parsed("FP32", (512,), values.tolist(), booleans=booleans)
    np.testing.assert_array_equal(array, values.astype(np.float32))


BAD_NUMBERS: dict[str, tuple[str, list[Any], str]] = {
    "text": ("FP32", [[1.0, 2.0], [3.0, "1.5"]], 'element [1, 1] is "1.5", which is no FP32'),
    "true": ("FP32", [[1.0, True], [3.0, False]], "element [0, 1] is true, which is no FP32"),
    "false among integers": ("INT64", [[1, 2], [False, 1]], "element [1, 0] is false, which is no INT64"),
    "flat": ("FP64", [1.0, 2.0, "x", None], 'element [1, 0] is "x", which is no FP64'),
    "an object": ("FP64", [{}, 2.0, 3.0, 4.0], "element [0, 0] is {}, which is no FP64"),
    "a deeper list": ("FP32", [[1.0, 2.0], [3.0, [4.0]]], "element [1, 1] is [4.0], which is no FP32"),
    "over FP32": ("FP32", [1.0, 1e39, 2.0, 3.0], "element [0, 1] is 1e+39, which is no FP32"),
    "just over FP32": ("FP32", [1.0, 2.0, 3.0, -3.4028235677973366e38], "element [1, 1] is -3.4028"),
    "over FP16": ("FP16", [1.0, 70000, 2.0, 3.0], "element [0, 1] is 70000, which is no FP16"),
    "a fraction": ("INT32", [1, 2, 3.5, 4], "element [1, 0] is 3.5, which is no INT32"),
    "a whole float": ("INT32", [1, 2, 3.0, 4], "element [1, 0] is 3.0, which is no INT32"),
    "null": ("INT8", [1, None, 3, 4], "element [0, 1] is null, which is no INT8"),
    "negative": ("UINT8", [1, 2, 3, -4], "element [1, 1] is -4, which is no UINT8"),
    "over INT64": ("INT64", [2**63, 2, 3, 4], "element [0, 0] is 9223372036854775808, which is no INT64"),
    "long": ("FP32", ["x" * 100, 2, 3, 4], 'element [0, 0] is "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'),
    "a number as text": ("BYTES", ["a", "b", 3, "d"], "element [1, 0] is 3, which is no BYTES"),
    "no text": ("BYTES", ["a", None, "c", "d"], "element [0, 1] is null, which is no BYTES"),
    "one as a boolean": ("BOOL", [True, False, 1, True], "element [1, 0] is 1, which is no BOOL"),
}


@pytest.mark.parametrize("case", BAD_NUMBERS)
def test_the_first_bad_element_is_named(case: str) -> None:
    datatype, data, expected = BAD_NUMBERS[case]
    message = refused(lambda: parsed(datatype, (2, 2), orjson.loads(orjson.dumps(data))))
    assert message.startswith('input "x": ' + expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "data is missing"),
        ("1,2", "data is no list"),
        ({"0": 1}, "data is no list"),
        ([1, 2, 3], "has 3 elements, shape [2, 2] takes 4"),
        ([], "has 0 elements, shape [2, 2] takes 4"),
        ([[1, 2]], "nested data does not have the shape [2, 2]"),
        ([[1, 2], [3]], "nested data does not have the shape [2, 2]"),
        ([[1, 2], 3], "nested data does not have the shape [2, 2]"),
        ([[1, 2], [3, 4], []], "nested data does not have the shape [2, 2]"),
    ],
)
def test_data_of_another_shape_is_refused(data: Any, message: str) -> None:
    assert refused(lambda: parsed("FP32", (2, 2), data)) == f'input "x": {message}'


def test_nested_data_is_checked_at_every_depth() -> None:
    good = np.arange(24).reshape(2, 3, 4).tolist()
    assert parsed("INT64", (2, 3, 4), good).tolist() == good
    assert "does not have the shape" in refused(lambda: parsed("INT64", (2, 4, 3), good))
    assert "does not have the shape" in refused(lambda: parsed("INT64", (3, 2, 4), good))
    good[1][2] = [1, 2, 3]
    assert "does not have the shape" in refused(lambda: parsed("INT64", (2, 3, 4), good))


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BYTES"])
def test_binary_values_are_views_of_the_body(datatype: str) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(DTYPES[datatype])
    body = b"odd" + values.tobytes()
    array = from_bytes(TensorHeader("x", datatype, (2, 3)), memoryview(body)[3:])
    np.testing.assert_array_equal(array, values)
    assert not array.flags.owndata
    assert not array.flags.writeable
    assert to_bytes(array) == values.tobytes()


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_bytes_that_do_not_fill_the_shape_are_refused(size: int) -> None:
    message = f'input "x": has {size} bytes, shape [2, 2] takes 16'
    assert refused(lambda: unpacked("FP32", (2, 2), bytes(size))) == message


def test_a_binary_boolean_is_zero_or_one() -> None:
    assert unpacked("BOOL", (3,), b"\0\1\0").tolist() == [False, True, False]
    assert "element [1] is neither 0 nor 1" in refused(lambda: unpacked("BOOL", (3,), b"\0\2\0"))


TEXTS = ["", "abc", "größer", "\0", "語" * 300]


def test_texts_are_the_same_in_both_forms() -> None:
    array = parsed("BYTES", (5, 1), TEXTS)
    assert array.shape == (5, 1)
    assert array.ravel().tolist() == TEXTS
    written = to_bytes(array)
    assert written[:11] == b"\0\0\0\0\3\0\0\0abc"
    assert unpacked("BYTES", (5, 1), written).tolist() == array.tolist()
    assert to_json(array) == TEXTS


FILES = [b"", b"PK\3\4\xff\0\0", b"\0", bytes(range(256)), "größer".encode("latin-1")]


def test_bytes_of_a_binary_field_are_the_same_in_both_forms() -> None:
    header = TensorHeader("x", "BYTES", (5, 1))
    sent = b"".join(struct.pack("<I", len(file)) + file for file in FILES)
    array = from_bytes(header, memoryview(sent), binary=True)
    assert array.shape == (5, 1)
    assert array.ravel().tolist() == FILES
    assert to_bytes(array) == sent
    written = to_json(array)
    assert written == [base64.b64encode(file).decode() for file in FILES]
    again = from_json(header, written, booleans=False, binary=True)
    assert (again.shape, again.ravel().tolist()) == ((5, 1), FILES)
    with pytest.raises(Invalid, match="is not UTF-8"):  # which a field of text must be
        from_bytes(header, memoryview(sent))


@pytest.mark.parametrize("text", ["YQ", "YQ=", "Y Q==", "-_8=", "größer", "=" * 99])
def test_what_is_no_base64_is_refused_in_a_binary_field(text: str) -> None:
    header = TensorHeader("x", "BYTES", (2,))
    message = refused(lambda: from_json(header, ["YQ==", text], booleans=False, binary=True))
    assert message.startswith('input "x": element [1] is "')
    assert message.endswith(", which is no base64")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\1\0\0\0a", "has 5 bytes, too few for the shape [2]"),
        (b"\1\0\0\0a\0\0\0", "its bytes end before element 1 of 2"),
        (b"\1\0\0\0a\2\0\0\0b", "its bytes end within element 1 of 2"),
        (b"\xff\xff\xff\xffabcdef", "its bytes end within element 0 of 2"),
        (b"\1\0\0\0a\1\0\0\0bc", "has 1 bytes behind its last element"),
        (b"\1\0\0\0a\1\0\0\0\xff", "element [1] is not UTF-8"),
    ],
)
def test_damaged_texts_are_refused(data: bytes, message: str) -> None:
    assert refused(lambda: unpacked("BYTES", (2,), data)) == f'input "x": {message}'


def test_a_shape_costs_no_memory_before_its_bytes_are_there() -> None:
    for datatype in DTYPES:
        assert "bytes" in refused(lambda datatype=datatype: unpacked(datatype, (4096, 2**30), b"\0" * 64))


SEQUENCE = TensorField("x", "FP32", (-1, 3))


@pytest.mark.parametrize("shape", [(1, 5, 3), (7, 1, 3), (0, 0, 3)])
def test_variable_dimensions_are_free(shape: tuple[int, ...]) -> None:
    check_shape(TensorHeader("x", "FP32", shape), SEQUENCE)


@pytest.mark.parametrize("shape", [(), (3,), (5, 3), (1, 5, 2), (1, 5, 4), (1, 1, 5, 3)])
def test_rank_and_fixed_dimensions_are_not(shape: tuple[int, ...]) -> None:
    message = refused(lambda: check_shape(TensorHeader("x", "FP32", shape), SEQUENCE))
    assert message == f'input "x": has shape {list(shape)}, takes [-1, -1, 3]'


def test_a_row_may_be_a_single_value() -> None:
    check_shape(TensorHeader("x", "INT64", (4,)), TensorField("x", "INT64", ()))
    with pytest.raises(Invalid):
        check_shape(TensorHeader("x", "INT64", ()), TensorField("x", "INT64", ()))


def fitted(values: Any, datatype: str, field: str, *, missing: bool = False) -> Any:
    array = np.array(values, DTYPES[datatype])
    return cast_to_field(
        TensorHeader("x", datatype, array.shape), array, TensorField("x", field, (), missing=missing)
    )


@pytest.mark.parametrize("field", FLOATS)
@pytest.mark.parametrize("datatype", INTEGERS + FLOATS)
def test_every_number_fits_a_float(datatype: str, field: str) -> None:
    array = fitted([0, 1, 100], datatype, field)
    assert array.dtype == DTYPES[field]
    assert array.tolist() == [0.0, 1.0, 100.0]


@pytest.mark.parametrize("field", INTEGERS)
@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_fit_integers_that_can_hold_them(datatype: str, field: str) -> None:
    assert fitted([0, 1, 127], datatype, field).tolist() == [0, 1, 127]
    lowest, highest = (getattr(np.iinfo(DTYPES[datatype]), end) for end in ("min", "max"))
    limits = np.iinfo(DTYPES[field])
    for value in (lowest, highest):
        if limits.min <= value <= limits.max:
            assert fitted([value], datatype, field).tolist() == [value]
        else:
            message = refused(lambda value=value: fitted([0, value], datatype, field))
            assert message == f'input "x": element [1] is out of {field}\'s range'


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        *((datatype, "INT64") for datatype in FLOATS),
        *(("BOOL", field) for field in ("FP32", "INT64", "BYTES")),
        ("BYTES", "FP32"),
        ("FP32", "BYTES"),
        ("INT64", "BOOL"),
    ],
)
def test_other_kinds_do_not_fit(datatype: str, field: str) -> None:
    values = ["a"] if datatype == "BYTES" else [1]
    assert refused(lambda: fitted(values, datatype, field)) == (
        f'input "x": has datatype {datatype}, takes {field}'
    )


def test_what_overflows_when_cast_is_refused() -> None:
    assert fitted([3e38], "FP64", "FP32").tolist() == [float(np.float32(3e38))]
    message = refused(lambda: fitted([1, 2, 1e39], "FP64", "FP32"))
    assert message == 'input "x": element [2] is no finite number of FP32'


@pytest.mark.parametrize("datatype", FLOATS)
def test_only_a_field_that_says_so_takes_missing_values(datatype: str) -> None:
    assert np.isnan(fitted([1, np.nan], datatype, datatype, missing=True)[1])
    for values, missing in (([1, np.nan], False), ([1, np.inf], False), ([np.nan, -np.inf], True)):
        message = "element [1] is no finite number"
        assert message in refused(lambda v=values, m=missing: fitted(v, datatype, datatype, missing=m))


def test_an_array_of_the_right_kind_is_not_copied() -> None:
    array = np.ones((2, 3), np.float32)
    assert cast_to_field(TensorHeader("x", "FP32", (2, 3)), array, SEQUENCE) is array


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "u1", "?"])
def test_answers_are_flat_and_row_major(dtype: str) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(dtype).T
    written = json.loads(orjson.dumps(to_json(array), option=orjson.OPT_SERIALIZE_NUMPY))
    assert written == array.ravel().tolist()
    assert to_bytes(array) == np.ascontiguousarray(array).tobytes()


def test_what_is_no_number_is_answered_as_null() -> None:
    written = orjson.dumps(to_json(np.array([1, np.nan], np.float32)), option=orjson.OPT_SERIALIZE_NUMPY)
    assert written == b"[1.0,null]"


def test_bytes_are_little_endian_wherever_they_come_from() -> None:
    assert to_bytes(np.array([1, 2], ">i4")) == struct.pack("<2i", 1, 2)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


@given(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 3), min_size=1, max_size=3), DATA)
def test_no_json_makes_it_stumble(datatype: str, shape: list[int], data: Any) -> None:
    with suppress(Invalid):
        assert parsed(datatype, tuple(shape), data).shape == tuple(shape)


@given(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 3), min_size=1, max_size=3), st.binary())
def test_no_bytes_make_it_stumble(datatype: str, shape: list[int], data: bytes) -> None:
    with suppress(Invalid):
        assert to_bytes(unpacked(datatype, tuple(shape), data)) == data


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_what_is_written_is_read_again(values: list[float]) -> None:
    array = np.array(values, np.float32)
    for written in (to_json(array), to_json(array.astype(np.float64))):
        sent = orjson.loads(orjson.dumps(written, option=orjson.OPT_SERIALIZE_NUMPY))
        np.testing.assert_array_equal(parsed("FP32", array.shape, sent), array)
    np.testing.assert_array_equal(unpacked("FP32", array.shape, to_bytes(array)), array)


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_any_bytes_are_read_again_as_they_were_written(files: list[bytes]) -> None:
    array = np.empty(len(files), object)
    array[:] = files
    header = TensorHeader("x", "BYTES", (len(files),))
    assert from_bytes(header, memoryview(to_bytes(array)), binary=True).tolist() == files
    assert from_json(header, to_json(array), booleans=False, binary=True).tolist() == files
