"""Models of the Open Inference Protocol: a task told as tensors or, under `{model}:network`, its graph."""

import asyncio
from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

import msgspec
import numpy as np
import orjson

from app.errors import Invalid, NotFound, Problem
from app.lanes import Answer
from app.services.open_inference.codec import Asked, Signature, Told
from app.services.open_inference.tensors import DTYPES
from app.services.serving.predictions import Plane, compute, infer
from app.services.serving.version_router import Chosen, Route, Wanted, version_number
from app.tasks.contract import Array, Output, Task, TensorField
from app.typedefs import Json

NETWORK = ":network"
OURS = {"binary_data_output", "priority", "timeout", "headers"}  # of the protocol, not of a task
PREFIXES = ("sequence_", "triton_")
LENGTHS = TensorField("lengths", "INT64", (), required=False)  # steps of each row, the rest is padding
INLINE = 4096  # elements that are turned into instances on the event loop
FILLERS = {"f": np.nan, "O": ""}  # what pads a shorter row; else 0


def parted(name: str) -> tuple[str, bool]:
    """The model of a name in the protocol, and whether its graph is meant."""
    return name.removesuffix(NETWORK), name.endswith(NETWORK)


def wanted(name: str, version: str | None) -> Wanted:
    """The version a path names: by number, by alias, or `production`; raises `NotFound`."""
    model, _ = parted(name)
    if version is None:
        return Wanted(model, None, None)
    if not (version.isascii() and version.isdecimal()):
        return Wanted(model, None, version)
    number = version_number(version)
    if number is None:
        raise NotFound(f"The model {model} has no version {version[:20]}")
    return Wanted(model, number, None)


def signature(route: Route, *, network: bool) -> Signature:
    """The tensors of a version's task or graph; raises `NotFound` for a graph that does not answer alone."""
    if network:
        graph = route.graph
        if graph.get("output") in (Output.LABELS, Output.SEQUENCE):
            said = f"The network of {route.model} does not answer by itself"
            raise NotFound(f"{said}: its outputs are decoded together; ask {route.model} instead")
        return _graph(graph.get("features", -1), graph.get("width", -1), graph.get("datatype", "FP32"))
    inputs = route.task.tensor_inputs
    ragged = any(field.shape[:1] == (-1,) for field in inputs)
    return Signature((*inputs, LENGTHS) if ragged else inputs, route.task.tensor_outputs)


@cache
def _graph(features: int, width: int, datatype: str) -> Signature:
    inputs = TensorField("inputs", datatype, (-1, features))
    return Signature((inputs, LENGTHS), (TensorField("outputs", "FP32", (width,)),))


async def run_graph(
    plane: Plane, route: Route, asked: Asked, seconds: float
) -> tuple[dict[str, Told], Answer]:
    """The graph's outputs for sequences (batch, time, features) of given lengths."""
    for name in asked.parameters:
        if not _reserved(name):
            raise Invalid(f'there is no parameter "{name}"')
    answer = await compute(plane, route, _sequences(asked, route.graph.get("vocabularies")), seconds)
    rows = answer.outputs
    return {"outputs": Told(rows[0][None] if len(rows) == 1 else np.stack(rows))}, answer


def _sequences(asked: Asked, vocabularies: Sequence[int] | None) -> list[Array]:
    inputs = asked.tensors["inputs"]  # (batch, time, features)
    if not inputs.shape[1]:
        raise Invalid('input "inputs": a sequence has at least one step')
    lengths = _lengths(asked, inputs.shape[1])
    rows = [row[:length] for row, length in zip(inputs, lengths, strict=True)]
    if vocabularies:
        _check_tokens(rows, np.array(vocabularies))
    return rows


def _check_tokens(rows: Sequence[Array], sizes: Array) -> None:
    """Raise `Invalid` for a number that no vocabulary has: in a batch with others it would fail them all."""
    for place, row in enumerate(rows):
        unknown = (row < 0) | (row >= sizes)  # (time, features)
        if unknown.any():
            step, column = np.argwhere(unknown)[0].tolist()
            said = f"element [{place}, {step}, {column}] is {row[step, column]}"
            raise Invalid(f'input "inputs": {said}, it may be 0 to {sizes[column] - 1}')


def _lengths(asked: Asked, longest: int) -> Sequence[int | None]:
    """How much of each row counts; None for all of it."""
    lengths = asked.tensors.get(LENGTHS.name)  # (batch,)
    if lengths is None:
        return [None] * asked.rows
    wrong = (lengths < 1) | (lengths > longest)
    if wrong.any():
        place = int(wrong.argmax())
        raise Invalid(f'input "lengths": element [{place}] is {lengths[place]}, it may be 1 to {longest}')
    found: list[int | None] = lengths.tolist()
    return found


async def requested(task: Task, asked: Asked) -> tuple[list[Any], Any]:
    """The task's instances and parameters told as tensors."""
    parameters = _parameters(task, asked)
    if _small(asked):
        return _instances(task, asked), parameters
    return await asyncio.to_thread(_instances, task, asked), parameters


def _small(asked: Asked) -> bool:
    return sum(tensor.size for tensor in asked.tensors.values()) <= INLINE


async def run_task(
    plane: Plane, chosen: Chosen, asked: Asked, seconds: float
) -> tuple[dict[str, Told], Answer]:
    """The task's predictions for instances told as tensors."""
    task = chosen.route.task
    instances, parameters = await requested(task, asked)
    inline = _small(asked)
    try:
        predictions, answer = await infer(plane, chosen, instances, parameters, seconds)
    except Invalid as error:
        said = [_sentence(problem) for problem in error.problems]
        raise Invalid("; ".join(said) or error.message) from None
    done = (task, asked, predictions)
    return (_told(*done) if inline else await asyncio.to_thread(_told, *done)), answer


def _reserved(name: str) -> bool:
    return name in OURS or name.startswith(PREFIXES)


def _parameters(task: Task, asked: Asked) -> Any:
    told = {name: _listed(value) for name, value in asked.parameters.items() if not _reserved(name)}
    try:
        parameters = msgspec.convert(told, task.parameters)
    except msgspec.ValidationError as error:
        raise Invalid(f"parameters: {error}") from None
    if getattr(parameters, "stream", False):
        raise Invalid('parameter "stream": this protocol gives answers as a whole')
    return parameters


def _listed(value: Any) -> Any:
    """A list may come as JSON text too: the protocol's parameters are strings, numbers and booleans."""
    if isinstance(value, str) and value[:1] == "[":
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _instances(task: Task, asked: Asked) -> list[Any]:
    sizes = [
        asked.tensors[field.name].shape[1]
        for field in task.tensor_inputs
        if field.shape[:1] == (-1,) and field.name in asked.tensors
    ]
    lengths = _lengths(asked, min(sizes, default=0))
    return [_instance(task, asked, row, length) for row, length in enumerate(lengths)]


def _instance(task: Task, asked: Asked, row: int, length: int | None) -> Any:
    told: Json = {}
    for field in task.tensor_inputs:
        tensor = asked.tensors.get(field.name)
        if tensor is None:
            continue
        value = _value(field, tensor[row][:length] if field.shape[:1] == (-1,) else tensor[row])
        if field.required or value not in ("", []):  # a batch holds rows with and without the field
            told[field.name] = value
    try:
        return msgspec.convert(told, task.instance)
    except msgspec.ValidationError as error:
        raise Invalid(f"row {row}: {error}") from None


def _value(field: TensorField, values: Any) -> Any:
    if isinstance(values, str):
        return values
    if field.datatype == "BYTES" and len(field.shape) == 1:  # empty texts fill up a shorter row
        return values[: 1 + np.flatnonzero(values != "").max(initial=-1)].tolist()
    if field.missing and np.isnan(values).any():
        values = np.where(np.isnan(values), np.array(None), values)
    return values.tolist()


def _told(task: Task, asked: Asked, predictions: Sequence[Json]) -> dict[str, Told]:
    fields = {field.name: field for field in task.tensor_outputs}
    return {name: stacked(fields[name], [one[name] for one in predictions]) for name in asked.outputs}


def _sentence(problem: Problem) -> str:
    """Where a problem of an instance is, said of tensors."""
    match problem.pointer.split("/")[1:]:
        case ["instances", row, name, *rest]:
            place = f", element {'/'.join(rest)}" if rest else ""
            return f'input "{name}", row {row}{place}: {problem.detail}'
        case ["instances", row]:
            return f"row {row}: {problem.detail}"
        case ["parameters", name, *_]:
            return f'parameter "{name}": {problem.detail}'
    return problem.detail


def stacked(field: TensorField, values: Sequence[Any]) -> Told:
    """One field of all predictions as a tensor; shorter rows are padded, names of a mapping told as keys.

    Where one prediction has a key and another has not, the other's entry is padding too.
    """
    keys, dtype = None, DTYPES[field.datatype]
    if isinstance(values[0], dict):
        keys = list(dict.fromkeys(key for one in values for key in one))
        filler = FILLERS.get(dtype.kind, 0)
        values = [np.stack([np.asarray(one.get(key, filler)) for key in keys], axis=-1) for one in values]
    if dtype.kind == "O":
        values = ["" if value is None else value for value in values]
    if len(field.shape) == 1 and len({len(value) for value in values}) > 1:
        filler = FILLERS.get(dtype.kind, 0)
        values = list(zip(*zip_longest(*values, fillvalue=filler), strict=True))
    return Told(np.array(values, dtype), keys)
