"""Tasks and graphs as models of the protocol: rows to instances and arrays, predictions to tensors."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from app.errors import Invalid, NotFound, Problem
from app.lanes import Answer
from app.services.open_inference.codec import InferenceRequest
from app.services.open_inference.predict import (
    LENGTHS,
    NETWORK_SUFFIX,
    run_network,
    run_task,
    signature,
    split_name,
    stack_field,
    version_selector,
)
from app.services.serving.metrics import PredictionMetrics
from app.services.serving.predictions import PredictionService
from app.services.serving.version_router import ResolvedRoute, Route, VersionSelector
from app.tasks import TASKS
from app.tasks.contract import Example, TensorField, bytes_to_json
from app.typedefs import Json
from tests.support.single import OneByOne


class Lane:
    """Answers at once: the sum of each sequence's steps."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[Any], float]] = []

    async def send(
        self,
        artifact: str,
        arrays: Sequence[Any],
        timeout: float,  # noqa: ASYNC109
        search: Any = (),
    ) -> Answer:
        self.sent.append((artifact, list(arrays), timeout))
        return Answer([array.sum(axis=0) for array in arrays], 0.1, 0.2, 4)


class NumbersInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An instance of the task below."""

    values: list[float | None]
    name: str | None = None
    scale: int = 1


class NumbersParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Its parameters."""

    top_k: int = 2
    levels: list[float] = []


class NumbersTask(OneByOne):
    """A task that is not registered."""

    name = "ninth"
    instance, parameters = NumbersInstance, NumbersParameters
    slow_to_encode = False
    tensor_inputs = (
        TensorField("values", "FP64", (-1,), missing=True),
        TensorField("name", "BYTES", (), required=False),
        TensorField("scale", "INT64", (), required=False),
    )
    tensor_outputs = (
        TensorField("sum", "FP64", ()),
        TensorField("label", "BYTES", ()),
        TensorField("scores", "FP64", (-1,)),
        TensorField("steps", "INT64", (-1,)),
    )

    def encode_instance(
        self, state: Json, instance: NumbersInstance, parameters: NumbersParameters
    ) -> Example:
        if parameters.top_k == 9:
            raise Invalid("too many", [Problem("/parameters/top_k", "too many")])
        for index, value in enumerate(instance.values):
            if value == 13:
                raise Invalid("unlucky", [Problem(f"/values/{index}", "unlucky")])
        if instance.name == "nobody":
            raise Invalid("nobody", [Problem("/name", "is nobody")])
        if instance.name == "lost":
            raise Invalid("lost", [Problem("", "is lost")])
        known = [0.0 if value is None else value for value in instance.values]
        return Example(np.array(known, np.float32)[:, None] * instance.scale, instance)

    def decode_example(
        self, state: Json, example: Example, outputs: Any, parameters: NumbersParameters
    ) -> Json:
        instance = example.context
        return {
            "sum": float(outputs[0]),
            "label": instance.name,
            "scores": {"low": 0.25, "high": instance.scale},
            "steps": list(range(len(instance.values))),
            "holes": instance.values.count(None),
        }


def service() -> tuple[PredictionService, Lane]:
    lane = Lane()
    return PredictionService(lane, None, PredictionMetrics(lane), None), lane  # type: ignore[arg-type]


ROUTE = Route("m", 3, NumbersTask(), "artifacts/3", {}, {"features": 2, "width": 2})  # type: ignore[arg-type]


def request_of(
    parameters: Json | None = None, outputs: Sequence[str] = (), **tensors: Any
) -> InferenceRequest:
    arrays = {name: np.array(value) for name, value in tensors.items()}
    for name, array in arrays.items():
        if array.dtype.kind == "U":
            arrays[name] = array.astype(object)
    names = outputs or [field.name for field in NumbersTask.tensor_outputs]
    return InferenceRequest(
        None, parameters or {}, arrays, len(next(iter(arrays.values()))), dict.fromkeys(names, False)
    )


def ran(request: InferenceRequest) -> tuple[Json, Lane]:
    through, lane = service()
    outputs, answer, _ = asyncio.run(run_task(through, ResolvedRoute(ROUTE, None), request, 7.5))
    assert answer.batch == 4
    return outputs, lane


def refused(request: InferenceRequest) -> str:
    with pytest.raises(Invalid) as caught:
        ran(request)
    return caught.value.message


def test_each_row_is_an_instance_and_each_prediction_a_row() -> None:
    outputs, lane = ran(
        request_of(values=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], name=["a", "b", "c"], scale=[1, 2, 3])
    )
    assert outputs["sum"].array.tolist() == [3.0, 14.0, 33.0]
    assert outputs["label"].array.tolist() == ["a", "b", "c"]
    assert outputs["scores"].array.tolist() == [[0.25, 1.0], [0.25, 2.0], [0.25, 3.0]]
    assert outputs["scores"].keys == ["low", "high"]
    assert outputs["steps"].array.tolist() == [[0, 1]] * 3
    assert [(one.array.dtype, one.keys) for name, one in outputs.items() if name != "scores"] == [
        (np.float64, None),
        (object, None),
        (np.int64, None),
    ]
    ((artifact, arrays, seconds),) = lane.sent
    assert (artifact, len(arrays)) == ("artifacts/3", 3)
    assert 7 < seconds <= 7.5  # the time that encoding took is gone


def test_only_requested_outputs_are_made() -> None:
    outputs, _ = ran(request_of(values=[[1.0]], outputs=["label"]))
    assert list(outputs) == ["label"]
    assert outputs["label"].array.tolist() == [""]


def test_a_row_without_an_optional_text_leaves_it_empty() -> None:
    outputs, _ = ran(request_of(values=[[1.0], [2.0]], name=["", "b"]))
    assert outputs["label"].array.tolist() == ["", "b"]


def test_what_is_missing_is_null_to_the_task() -> None:
    through, _ = service()
    encoded: list[NumbersInstance] = []

    class Watching(NumbersTask):
        def encode_instance(
            self, state: Json, instance: NumbersInstance, parameters: NumbersParameters
        ) -> Example:
            encoded.append(instance)
            return super().encode_instance(state, instance, parameters)

    route = Route("m", 3, Watching(), "artifacts/3", {}, {})  # type: ignore[arg-type]
    request = request_of(values=[[1.0, np.nan], [2.0, 3.0]])
    asyncio.run(run_task(through, ResolvedRoute(route, None), request, 7.5))
    assert [one.values for one in encoded] == [[1.0, None], [2.0, 3.0]]
    assert {type(value) for one in encoded for value in one.values} == {float, type(None)}


@pytest.mark.parametrize(
    "parameters",
    [
        {"top_k": 3, "levels": [0.1, 0.9]},
        {"top_k": 3, "levels": "[0.1,0.9]"},
        {"binary_data_output": True, "priority": 1, "timeout": 5, "headers": "x"},
        {"sequence_id": 3, "sequence_start": True, "sequence_end": False, "triton_enable": "x"},
    ],
)
def test_parameters_are_the_tasks_own_or_the_protocols(parameters: Json) -> None:
    ran(request_of(parameters, values=[[1.0]]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"magic": 1}, "parameters: unknown field magic; there are top_k, levels"),
        ({"top_k": "3"}, "parameters: Expected `int`, got `str` - at `$.top_k`"),
        ({"levels": "[0.1"}, "parameters: Expected `array`, got `str` - at `$.levels`"),
        ({"levels": ["x"]}, "parameters: Expected `float`, got `str` - at `$.levels[0]`"),
        ({"top_k": 9}, 'parameter "top_k": too many'),
    ],
)
def test_other_parameters_are_refused(parameters: Json, message: str) -> None:
    assert refused(request_of(parameters, values=[[1.0]])) == message


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"values": [[1.0, 2.0], [3.0, 13.0]]}, 'input "values", row 1, element 1: unlucky'),
        ({"values": [[1.0], [2.0]], "name": ["a", "nobody"]}, 'input "name", row 1: is nobody'),
        ({"values": [[1.0], [2.0]], "name": ["lost", "a"]}, "row 0: is lost"),
        ({"values": [[1.0]] * 6 + [[13.0]]}, 'input "values", row 6, element 0: unlucky'),
    ],
)
def test_a_bad_instance_is_named_by_its_tensor_and_row(tensors: Json, message: str) -> None:
    assert refused(request_of(**tensors)) == message


def test_what_the_schema_refuses_is_named_by_its_row() -> None:
    task = TASKS["forecasting"]
    route = Route("m", 3, task, "artifacts/3", {}, {})
    through, _ = service()
    request = request_of(values=np.zeros((1, 0)), outputs=["mean"])
    with pytest.raises(Invalid, match=r"row 0: Expected `array` of length >= 1 - at `\$.values`"):
        asyncio.run(run_task(through, ResolvedRoute(route, None), request, 7.5))


INPUTS = np.arange(24, dtype=np.float32).reshape(2, 6, 2)


def network(**tensors: Any) -> tuple[Any, Lane]:
    through, lane = service()
    parameters = tensors.pop("parameters", {})
    request = InferenceRequest(None, parameters, tensors, len(tensors["inputs"]), {"outputs": False})
    outputs, _ = asyncio.run(run_network(through, ROUTE, request, 7.5))
    return outputs["outputs"].array, lane


def test_a_graph_gets_its_rows_without_a_copy() -> None:
    outputs, lane = network(inputs=INPUTS)
    assert outputs.tolist() == INPUTS.sum(axis=1).tolist()
    ((_, arrays, seconds),) = lane.sent
    assert all(np.shares_memory(array, INPUTS) for array in arrays)
    assert seconds == 7.5


def test_a_graph_gets_as_many_steps_as_a_row_has() -> None:
    outputs, lane = network(inputs=INPUTS, lengths=np.array([1, 4]))
    assert outputs.tolist() == [INPUTS[0, :1].sum(axis=0).tolist(), INPUTS[1, :4].sum(axis=0).tolist()]
    ((_, arrays, _),) = lane.sent
    assert [array.shape for array in arrays] == [(1, 2), (4, 2)]
    assert all(np.shares_memory(array, INPUTS) for array in arrays)


def test_one_row_is_answered_as_a_batch_of_one() -> None:
    assert network(inputs=INPUTS[:1])[0].shape == (1, 2)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"lengths": np.array([6, 0])}, 'input "lengths": element [1] is 0, it may be 1 to 6'),
        ({"lengths": np.array([7, 1])}, 'input "lengths": element [0] is 7, it may be 1 to 6'),
        ({"lengths": np.array([-1, 1])}, 'input "lengths": element [0] is -1, it may be 1 to 6'),
        ({"inputs": INPUTS[:, :0]}, 'input "inputs": a sequence has at least one step'),
        ({"parameters": {"horizon": 3}}, 'there is no parameter "horizon"'),
    ],
)
def test_what_a_graph_cannot_take_is_refused(tensors: Json, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        network(**{"inputs": INPUTS, **tensors})
    assert caught.value.message == message


def test_a_graph_takes_the_protocols_parameters() -> None:
    network(inputs=INPUTS, parameters={"timeout": 5, "sequence_id": 7, "binary_data_output": False})


def test_what_a_graph_costs_is_counted() -> None:
    through, _ = service()
    request = InferenceRequest(None, {}, {"inputs": INPUTS}, 2, {"outputs": False})
    asyncio.run(run_network(through, ROUTE, request, 7.5))
    metrics = through.metrics.of_version("m", 3)
    assert (metrics.inferences, metrics.executions) == (2, 0.5)


def test_the_signature_of_a_graph_is_its_manifests() -> None:
    tensors = signature(ROUTE, network=True)
    assert [(one.name, one.datatype, one.shape, one.required) for one in tensors.inputs] == [
        ("inputs", "FP32", (-1, 2), True),
        ("lengths", "INT64", (), False),
    ]
    assert [(one.name, one.datatype, one.shape) for one in tensors.outputs] == [("outputs", "FP32", (2,))]
    assert signature(ROUTE, network=True) is tensors
    unknown = signature(Route("m", 1, ROUTE.task, "a", {}, {}), network=True)
    assert unknown.inputs[0].shape == (-1, -1)


TOKENS: Json = {"features": 2, "width": 9, "datatype": "INT64", "output": "next", "vocabularies": [9, 5]}


def test_the_signature_of_a_graph_that_reads_tokens_has_integers() -> None:
    tensors = signature(Route("m", 1, ROUTE.task, "a", {}, TOKENS), network=True)
    assert [(one.name, one.datatype, one.shape) for one in tensors.inputs] == [
        ("inputs", "INT64", (-1, 2)),
        ("lengths", "INT64", ()),
    ]


@pytest.mark.parametrize("output", ["labels", "sequence"])
def test_a_graph_that_answers_nothing_alone_is_none(output: str) -> None:
    route = Route("m", 1, ROUTE.task, "a", {}, TOKENS | {"output": output})
    with pytest.raises(NotFound, match="ask m instead"):
        signature(route, network=True)
    assert signature(route, network=False).inputs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((0, 2, 0, 9), "element [0, 2, 0] is 9, it may be 0 to 8"),
        ((1, 0, 1, 5), "element [1, 0, 1] is 5, it may be 0 to 4"),
        ((1, 1, 1, -1), "element [1, 1, 1] is -1, it may be 0 to 4"),
        ((1, 2, 1, 99), None),  # padding
    ],
)
def test_tokens_are_numbers_of_their_vocabularies(change: tuple[int, ...], said: str | None) -> None:
    through, lane = service()
    inputs = np.ones((2, 3, 2), np.int64)
    inputs[change[:3]] = change[3]
    request = InferenceRequest(
        None, {}, {"inputs": inputs, "lengths": np.array([3, 2])}, 2, {"outputs": False}
    )
    route = Route("m", 1, ROUTE.task, "a", {}, TOKENS)
    if said is None:
        asyncio.run(run_network(through, route, request, 7.5))
        return
    with pytest.raises(Invalid) as caught:
        asyncio.run(run_network(through, route, request, 7.5))
    assert caught.value.message == f'input "inputs": {said}'
    assert lane.sent == []


class WordsInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An instance in one of two forms."""

    text: str | None = None
    tokens: list[str] | None = None


class StreamParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Parameters that ask for a stream."""

    stream: bool = False


class WordsTask(NumbersTask):
    """A task with alternatives."""

    instance, parameters = WordsInstance, StreamParameters  # type: ignore[assignment]
    tensor_inputs = (  # type: ignore[assignment]
        TensorField("text", "BYTES", (), required=False, alternative=True),
        TensorField("tokens", "BYTES", (-1,), required=False, alternative=True),
    )
    tensor_outputs = (TensorField("said", "BYTES", ()), TensorField("scores", "FP64", (-1,)))  # type: ignore[assignment]

    def encode_instance(self, state: Json, instance: Any, parameters: Any) -> Example:
        if (instance.text is None) == (instance.tokens is None):
            raise Invalid("one way", [Problem("", "takes a text or tokens")])
        return Example(np.ones((1, 2), np.float32), instance)

    def decode_example(self, state: Json, example: Example, outputs: Any, parameters: Any) -> Json:
        instance = example.context
        said = instance.text if instance.tokens is None else "|".join(instance.tokens)
        return {"said": said, "scores": {said: 1.0, "all": 0.5}}


WORDS_ROUTE = Route("m", 3, WordsTask(), "artifacts/3", {}, {})  # type: ignore[arg-type]


def run_words(parameters: Json | None = None, **tensors: Any) -> Json:
    request = request_of(parameters, outputs=["said", "scores"], **tensors)
    outputs, *_ = asyncio.run(run_task(service()[0], ResolvedRoute(WORDS_ROUTE, None), request, 7.5))
    return outputs


def test_of_alternatives_a_row_has_one() -> None:
    assert run_words(text=["a b", "c"])["said"].array.tolist() == ["a b", "c"]
    assert run_words(tokens=[["a", "b"], ["c", "d"]])["said"].array.tolist() == ["a|b", "c|d"]
    both = run_words(text=["a b", ""], tokens=[["", ""], ["c", "d"]])
    assert both["said"].array.tolist() == ["a b", "c|d"]
    with pytest.raises(Invalid, match="row 1: takes a text or tokens"):
        run_words(text=["a", ""], tokens=[["", ""], ["", ""]])


def test_an_empty_text_alone_is_an_empty_text_as_in_the_json_protocol() -> None:
    assert run_words(text=["great movie", ""])["said"].array.tolist() == ["great movie", ""]
    assert run_words(tokens=[["a", "b"], ["", ""]])["said"].array.tolist() == ["a|b", ""]


def test_short_rows_of_texts_end_where_their_lengths_or_the_empty_ones_say() -> None:
    tokens = [["a", "b", "c"], ["d", "", ""]]
    assert run_words(tokens=tokens)["said"].array.tolist() == ["a|b|c", "d"]
    assert run_words(tokens=tokens, lengths=[2, 1])["said"].array.tolist() == ["a|b", "d"]


def test_keys_that_differ_from_row_to_row_are_listed_once() -> None:
    scores = run_words(text=["a", "b", "a"])["scores"]
    assert scores.keys == ["a", "all", "b"]
    np.testing.assert_array_equal(scores.array, [[1, 0.5, np.nan], [np.nan, 0.5, 1], [1, 0.5, np.nan]])


class RecordingInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An instance that holds files."""

    audio_base64: bytes
    cover_base64: bytes | None = None
    pages: list[bytes] | None = None


class Recordings(NumbersTask):
    """A task from files to files."""

    instance = RecordingInstance  # type: ignore[assignment]
    tensor_inputs = (
        TensorField("audio_base64", "BYTES", (), binary=True),
        TensorField("cover_base64", "BYTES", (), required=False, binary=True),
        TensorField("pages", "BYTES", (-1,), required=False, binary=True),
    )
    tensor_outputs = (  # type: ignore[assignment]
        TensorField("audio_base64", "BYTES", (), binary=True),
        TensorField("pages", "BYTES", (-1,), binary=True),
        TensorField("tracks", "BYTES", (-1,), binary=True),
    )

    def encode_instance(self, state: Json, instance: Any, parameters: Any) -> Example:
        return Example(np.ones((1, 2), np.float32), instance)

    def decode_example(self, state: Json, example: Example, outputs: Any, parameters: Any) -> Json:
        audio = example.context.audio_base64
        return {
            "audio_base64": example.context.cover_base64,
            "pages": example.context.pages or [],
            "tracks": {"first": audio, "last": audio[::-1]},
        }


def test_bytes_go_through_a_task_without_loss() -> None:
    files = [b"PK\xff\0", b"\0\0"]
    tensors = {
        "audio_base64": np.array(files, object),
        "cover_base64": np.array([b"", b"\xfe\0"], object),
        "pages": np.array([[b"\0", b"", b"\xff"], [b"a\0", b"", b""]], object),
    }
    request = InferenceRequest(None, {}, tensors, 2, dict.fromkeys(("audio_base64", "pages", "tracks"), True))
    route = Route("m", 3, Recordings(), "artifacts/3", {}, {})  # type: ignore[arg-type]
    outputs, *_ = asyncio.run(run_task(service()[0], ResolvedRoute(route, None), request, 7.5))
    assert outputs["audio_base64"].array.tolist() == [b"", b"\xfe\0"]  # the first row has none
    assert outputs["pages"].array.tolist() == [[b"\0", b"", b"\xff"], [b"a\0", b"", b""]]
    assert outputs["tracks"].array.tolist() == [[b"PK\xff\0", b"\0\xffKP"], [b"\0\0", b"\0\0"]]
    assert outputs["tracks"].keys == ["first", "last"]


def test_bytes_are_base64_in_json() -> None:
    written = orjson.dumps({"audio_base64": b"PK\xff\0"}, bytes_to_json)
    assert written == b'{"audio_base64":"UEv/AA=="}'
    assert msgspec.json.decode(written, type=RecordingInstance).audio_base64 == b"PK\xff\0"
    with pytest.raises(TypeError, match="set is not JSON"):
        bytes_to_json({1})


def test_this_protocol_does_not_stream() -> None:
    with pytest.raises(Invalid, match='parameter "stream"'):
        run_words({"stream": True}, text=["a"])
    run_words({"stream": False}, text=["a"])


def test_the_signature_of_a_task_is_its_own_and_the_lengths_of_its_rows() -> None:
    tensors = signature(ROUTE, network=False)
    assert (tensors.inputs, tensors.outputs) == (
        (*NumbersTask.tensor_inputs, LENGTHS),
        NumbersTask.tensor_outputs,
    )

    class Flat(NumbersTask):
        tensor_inputs = (TensorField("text", "BYTES", ()),)  # type: ignore[assignment]

    flat = Route("m", 3, Flat(), "artifacts/3", {}, {})  # type: ignore[arg-type]
    assert signature(flat, network=False).inputs == Flat.tensor_inputs


def test_a_task_gets_as_many_steps_as_a_row_has() -> None:
    values = [[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]]
    outputs, lane = ran(request_of(values=values, lengths=[3, 1], scale=[1, 1]))
    assert outputs["sum"].array.tolist() == [6.0, 4.0]
    assert np.array_equal(outputs["steps"].array, [[0, 1, 2], [0, 0, 0]])
    ((_, arrays, _),) = lane.sent
    assert [len(array) for array in arrays] == [3, 1]
    message = 'input "lengths": element [1] is 4, it may be 1 to 3'
    assert refused(request_of(values=values, lengths=[1, 4])) == message


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_has_tensors_for_instances_and_predictions(name: str) -> None:
    task = TASKS[name]
    fields = {one.name for one in msgspec.structs.fields(task.instance)}
    required = {one.name for one in msgspec.structs.fields(task.instance) if one.required}
    assert required <= {one.name for one in task.tensor_inputs} <= fields
    assert {one.name for one in task.tensor_inputs if one.required} >= required
    assert task.tensor_outputs


def test_short_rows_are_padded() -> None:
    assert stack_field(TensorField("a", "BYTES", (-1,)), [["x"], ["y", "z"]]).array.tolist() == [
        ["x", ""],
        ["y", "z"],
    ]
    floats = stack_field(TensorField("a", "FP64", (-1,)), [[1.0, 2.0], []]).array
    assert np.isnan(floats[1]).all()
    assert stack_field(TensorField("a", "INT64", (-1,)), [[1], [2, 3], []]).array.tolist() == [
        [1, 0],
        [2, 3],
        [0, 0],
    ]


def test_a_mapping_of_lists_is_stacked_on_the_last_axis() -> None:
    values = [{"0.1": [1, 2, 3], "0.9": [4, 5, 6]}, {"0.1": [7, 8, 9], "0.9": [0, 0, 0]}]
    stacked = stack_field(TensorField("q", "FP64", (-1, -1)), values)
    assert stacked.array.shape == (2, 3, 2)
    assert stacked.array[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert stacked.keys == ["0.1", "0.9"]


@pytest.mark.parametrize(
    ("name", "version", "selector"),
    [
        ("m", None, VersionSelector("m", None, None)),
        ("m", "3", VersionSelector("m", 3, None)),
        ("m" + NETWORK_SUFFIX, "3", VersionSelector("m", 3, None)),
        ("m" + NETWORK_SUFFIX, "canary", VersionSelector("m", None, "canary")),
        ("m", "v3", VersionSelector("m", None, "v3")),
        ("m", "³", VersionSelector("m", None, "³")),
    ],
)
def test_a_version_is_a_number_or_an_alias(name: str, version: str | None, selector: VersionSelector) -> None:
    assert version_selector(name, version) == selector


@pytest.mark.parametrize("version", ["0", "2147483648", "00000000001" + "9" * 12, "9" * 5000])
def test_a_number_that_no_version_can_have_is_not_found(version: str) -> None:
    with pytest.raises(NotFound, match="has no version"):
        version_selector("m", version)


def test_a_name_says_whether_the_graph_is_meant() -> None:
    assert split_name("m") == ("m", False)
    assert split_name("m:network") == ("m", True)
    assert split_name("m:other") == ("m:other", False)
