"""Models of the Open Inference Protocol: `{model}` is a task, `{model}:network` its exported graph."""

import time
from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

import msgspec
import numpy as np
import orjson

from app.arrays import Array
from app.errors import Invalid, NotFound, Problem
from app.lanes import Answer
from app.prediction.request_errors import parameter_reason
from app.prediction.request_parsing import MAX_INLINE_BYTES
from app.services.open_inference.codec import (
    InferenceRequest,
    OutputTensor,
    Signature,
    parse_inference_request,
    write_response,
)
from app.services.open_inference.tensors import DTYPES
from app.services.serving.predictions import PredictionService, is_soon_decoded, seconds_left
from app.services.serving.version_router import ResolvedRoute, Route, VersionSelector, parse_version
from app.tasks.contract import Output, Task, TensorField
from app.thread_pools import COMPUTING
from app.typedefs import Json

NETWORK_SUFFIX = ":network"
PROTOCOL_PARAMETERS = {"binary_data_output", "priority", "timeout", "headers"}  # never a task's
PROTOCOL_PREFIXES = ("sequence_", "triton_")
LENGTHS = TensorField("lengths", "INT64", (), required=False)  # steps of each row, the rest is padding
MAX_LIST_CHARS = 1 << 16  # of a list as text
MAX_INLINE_ELEMENTS = 4096  # of all tensors, that are turned into instances on the event loop


def split_name(name: str) -> tuple[str, bool]:
    """The model of a name in the protocol, and whether the name means its graph."""
    return name.removesuffix(NETWORK_SUFFIX), name.endswith(NETWORK_SUFFIX)


def version_selector(name: str, version: str | None) -> VersionSelector:
    """The version that a path names, by number or by alias; raises `NotFound`."""
    model, _ = split_name(name)
    if version is None:
        return VersionSelector(model, None, None)
    if not (version.isascii() and version.isdecimal()):
        return VersionSelector(model, None, version)
    number = parse_version(version)
    if number is None:
        raise NotFound(f"The model {model} has no version {version[:20]}")
    return VersionSelector(model, number, None)


def signature(route: Route, *, network: bool) -> Signature:
    """The tensors of a version's task or graph; raises `NotFound` for a graph that is no model by itself."""
    if network:
        graph = route.graph
        if "output" in graph and Output(graph["output"]).has_time_axis:
            reason = f"The network of {route.model} does not answer by itself"
            raise NotFound(f"{reason}: its outputs are decoded together; ask {route.model} instead")
        return _graph_signature(
            graph.get("features", -1), graph.get("width", -1), graph.get("datatype", "FP32")
        )
    inputs = route.task.tensor_inputs
    has_steps = any(_is_ragged(field) for field in inputs)
    return Signature((*inputs, LENGTHS) if has_steps else inputs, route.task.tensor_outputs)


@cache
def _graph_signature(features: int, width: int, datatype: str) -> Signature:
    inputs = TensorField("inputs", datatype, (-1, features))
    return Signature((inputs, LENGTHS), (TensorField("outputs", "FP32", (width,)),))


def _is_ragged(field: TensorField) -> bool:
    """Whether rows of the field have steps, of which `lengths` may count some out."""
    return field.shape[:1] == (-1,)


async def run_network(
    service: PredictionService, route: Route, request: InferenceRequest, seconds: float
) -> tuple[dict[str, OutputTensor], Answer]:
    """The outputs of the graph for its sequences (batch, time, features)."""
    for name in request.parameters:
        if not _is_reserved(name):
            raise Invalid(f'there is no parameter "{name}"')
    sequences = _sequences(request, route.graph.get("vocabularies"))
    answer = await service.run_network(route, sequences, seconds)
    rows = answer.outputs
    return {"outputs": OutputTensor(rows[0][None] if len(rows) == 1 else np.stack(rows))}, answer


def _sequences(request: InferenceRequest, vocabularies: Sequence[int] | None) -> list[Array]:
    inputs = request.tensors["inputs"]  # (batch, time, features)
    if not inputs.shape[1]:
        raise Invalid('input "inputs": a sequence has at least one step')
    lengths = _lengths(request, inputs.shape[1])
    rows = [row[:length] for row, length in zip(inputs, lengths, strict=True)]
    if vocabularies:
        _check_tokens(rows, np.array(vocabularies))
    return rows


def _check_tokens(rows: Sequence[Array], sizes: Array) -> None:
    """Raise `Invalid` for a token outside its vocabulary: it would fail the whole batch it is put into."""
    for index, row in enumerate(rows):
        unknown = (row < 0) | (row >= sizes)  # (time, features)
        if unknown.any():
            step, column = np.argwhere(unknown)[0].tolist()
            element = f"element [{index}, {step}, {column}] is {row[step, column]}"
            raise Invalid(f'input "inputs": {element}, it may be 0 to {sizes[column] - 1}')


def _lengths(request: InferenceRequest, max_length: int) -> Sequence[int | None]:
    """How many steps of each row count; None for all of them."""
    lengths = request.tensors.get(LENGTHS.name)  # (batch,)
    if lengths is None:
        return [None] * request.rows
    wrong = (lengths < 1) | (lengths > max_length)
    if wrong.any():
        row = int(wrong.argmax())
        raise Invalid(f'input "lengths": element [{row}] is {lengths[row]}, it may be 1 to {max_length}')
    values: list[int | None] = lengths.tolist()
    return values


async def parse_inference_request_async(
    body: bytes, length: int | None, tensors: Signature, seconds: float
) -> InferenceRequest:
    """The same as `parse_inference_request`; what is large in a thread, within `seconds`."""
    if len(body) <= MAX_INLINE_BYTES:
        return parse_inference_request(body, length, tensors)
    return await COMPUTING.run_within(seconds, parse_inference_request, body, length, tensors)


async def write_response_async(
    model: str,
    version: int,
    request: InferenceRequest,
    outputs: dict[str, OutputTensor],
    tensors: Signature,
    warnings: str,
    seconds: float,
) -> tuple[bytes, int | None]:
    """The same as `write_response`; what is large in a thread, within `seconds`."""
    arguments = (model, version, request, outputs, tensors, warnings)
    if sum(output.array.size for output in outputs.values()) <= MAX_INLINE_ELEMENTS:
        return write_response(*arguments)
    return await COMPUTING.run_within(seconds, write_response, *arguments)


async def instances_from_tensors(
    task: Task, request: InferenceRequest, seconds: float
) -> tuple[list[Any], Any]:
    """The task's instances, one a row, and its parameters."""
    parameters = _task_parameters(task, request)
    if _is_small(request):
        return _instances(task, request), parameters
    return await COMPUTING.run_within(seconds, _instances, task, request), parameters


def _is_small(request: InferenceRequest) -> bool:
    return sum(tensor.size for tensor in request.tensors.values()) <= MAX_INLINE_ELEMENTS


async def run_task(
    service: PredictionService,
    resolved: ResolvedRoute,
    request: InferenceRequest,
    seconds: float,
    size: int = 0,
) -> tuple[dict[str, OutputTensor], Answer, str]:
    """The task's predictions, as tensors, and their warnings, one a line; the request had `size` bytes."""
    task, begun = resolved.route.task, time.perf_counter()
    instances, parameters = await instances_from_tensors(task, request, seconds)
    left = seconds_left(seconds, begun)
    try:
        predictions, answer = await service.predict(resolved, instances, parameters, left, size)
    except Invalid as error:
        details = [_describe(problem) for problem in error.problems]
        raise Invalid("; ".join(details) or error.message) from None
    arguments = (task, request, predictions)
    warnings = join_warnings(predictions)
    if _is_small(request) and is_soon_decoded(answer, parameters):
        return _output_tensors(*arguments), answer, warnings
    left = seconds_left(seconds, begun)
    return await COMPUTING.run_within(left, _output_tensors, *arguments), answer, warnings


def join_warnings(predictions: Sequence[Json]) -> str:
    """The warnings of all predictions as lines, each once, with the first row that has it."""
    first: dict[str, int] = {}
    for row, prediction in enumerate(predictions):
        for warning in prediction.get("warnings", ()):
            first.setdefault(warning, row)
    return "\n".join(f"row {row}: {warning}" for warning, row in first.items())


def _is_reserved(parameter: str) -> bool:
    return parameter in PROTOCOL_PARAMETERS or parameter.startswith(PROTOCOL_PREFIXES)


def _task_parameters(task: Task, request: InferenceRequest) -> Any:
    values = {
        name: _parse_list(value) for name, value in request.parameters.items() if not _is_reserved(name)
    }
    try:
        parameters = msgspec.convert(values, task.parameters)
    except msgspec.ValidationError as error:
        raise Invalid(f"parameters: {parameter_reason(task, str(error))}") from None
    if getattr(parameters, "stream", False):
        raise Invalid('parameter "stream": this protocol gives answers as a whole')
    return parameters


def _parse_list(value: Any) -> Any:
    """A list may come as JSON text too: the protocol's parameters are strings, numbers and booleans."""
    if isinstance(value, str) and value[:1] == "[" and len(value) <= MAX_LIST_CHARS:
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _instances(task: Task, request: InferenceRequest) -> list[Any]:
    sizes = [
        request.tensors[field.name].shape[1]
        for field in task.tensor_inputs
        if _is_ragged(field) and field.name in request.tensors
    ]
    lengths = _lengths(request, min(sizes, default=0))
    return [_instance(task, request, row, length) for row, length in enumerate(lengths)]


def _instance(task: Task, request: InferenceRequest, row: int, length: int | None) -> Any:
    values: Json = {}
    for field in task.tensor_inputs:
        tensor = request.tensors.get(field.name)
        if tensor is None:
            continue
        value = _value(field, tensor[row][:length] if _is_ragged(field) else tensor[row])
        # A batch holds rows with and without an optional field, but of alternatives a row needs one.
        is_needed = field.required or (field.alternative and _is_only_alternative(task, request))
        if is_needed or value not in ("", b"", []):
            values[field.name] = value
    try:
        return msgspec.convert(values, task.instance)
    except msgspec.ValidationError as error:
        raise Invalid(f"row {row}: {error}") from None


def _is_only_alternative(task: Task, request: InferenceRequest) -> bool:
    names = [field.name for field in task.tensor_inputs if field.alternative]
    return sum(name in request.tensors for name in names) == 1


def _value(field: TensorField, row: Any) -> Any:
    """One row of a field's tensor as the instance's field."""
    if isinstance(row, str | bytes):
        return row
    if field.datatype == "BYTES" and len(field.shape) == 1:  # empty elements pad a shorter row
        return row[: 1 + np.flatnonzero(row != _padding(field)).max(initial=-1)].tolist()
    if field.missing and np.isnan(row).any():
        row = np.where(np.isnan(row), np.array(None), row)
    return row.tolist()


def _output_tensors(
    task: Task, request: InferenceRequest, predictions: Sequence[Json]
) -> dict[str, OutputTensor]:
    fields = {field.name: field for field in task.tensor_outputs}
    return {
        name: stack_field(fields[name], [prediction[name] for prediction in predictions])
        for name in request.outputs
    }


def _describe(problem: Problem) -> str:
    """A problem of an instance as one sentence that names its tensor and row."""
    match problem.pointer.split("/")[1:]:
        case ["instances", row, name, *rest]:
            element = f", element {'/'.join(rest)}" if rest else ""
            return f'input "{name}", row {row}{element}: {problem.detail}'
        case ["instances", row]:
            return f"row {row}: {problem.detail}"
        case ["parameters", name, *_]:
            return f'parameter "{name}": {problem.detail}'
    return problem.detail


def stack_field(field: TensorField, values: Sequence[Any]) -> OutputTensor:
    """One field of all predictions as a tensor.

    Shorter rows are padded. The names of a mapping become the tensor's keys; a key that some predictions
    lack is padded in theirs.
    """
    keys, dtype, padding = None, DTYPES[field.datatype], _padding(field)
    if isinstance(values[0], dict):
        keys = list(dict.fromkeys(key for value in values for key in value))
        values = [_stack_mapping(value, keys, padding) for value in values]
    if dtype.kind == "O":
        values = [padding if value is None else value for value in values]
    if len(field.shape) == 1 and len({len(value) for value in values}) > 1:
        values = list(zip(*zip_longest(*values, fillvalue=padding), strict=True))
    return OutputTensor(np.array(values, dtype), keys)


def _stack_mapping(value: Json, keys: Sequence[str], padding: object) -> Array:
    """The entries of a mapping along the last axis; texts and bytes as objects, which keep trailing NULs."""
    dtype = object if isinstance(padding, str | bytes) else None
    return np.stack([np.asarray(value.get(key, padding), dtype) for key in keys], axis=-1)


def _padding(field: TensorField) -> Any:
    """The element that pads a shorter row."""
    if field.datatype == "BYTES":
        return b"" if field.binary else ""
    return np.nan if field.datatype.startswith("FP") else 0
