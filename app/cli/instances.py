"""Instances to predict, from a file in any form that its task can read."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import msgspec

from app.cli.values import STDIN, parse_body, unusable
from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, open_content, open_source
from app.tasks import TASKS
from app.tasks.contract import Task, TensorField, bytes_to_json
from app.tasks.source import Faults
from app.typedefs import Json
from app.validation import file_kinds
from recurra import Client, InvalidInput, RequestRefused
from recurra.workflows import read_schema

DELIMITED = ("csv", "tsv")
TABLES = (*DELIMITED, "conll", "parquet")
JSON_LINES, PLAIN, ARCHIVE = "jsonl", "txt", "zip"
JSON_STARTS = (b"{", b"[")
TrainedColumns = Callable[[], dict[str, str]]  # canonical name -> column of the upload
STDIN_NAME = "standard input"  # in messages


def read_instances(
    path: Path, task_name: str, columns: dict[str, str], trained: TrainedColumns = dict
) -> Json:
    """The body of a prediction request: instances, and parameters where a JSON file has them.

    Columns of a data set that are not part of an instance, such as labels, are left out. Where an instance is
    a file, such as a recording, another file than JSON is one instance. A file may be compressed; `-` is
    standard input. Without `columns` a table may have the names of the upload, which are `trained`. Raises
    `InvalidInput` for a file that cannot be used.
    """
    if path == STDIN:
        with _stdin_file() as file:
            return read_instances(file, task_name, columns, trained)
    task = TASKS.get(task_name)
    format_ = "" if task is None else _format_of(path, task.formats)
    archive = task is not None and format_ == ARCHIVE and ARCHIVE in task.formats
    field = None if task is None or archive else binary_field(task.tensor_inputs)
    if field is not None and not _is_json(content := _read_content(path)):
        return {"instances": [{field: bytes_to_json(content)}]}
    if task is None or not (archive or format_ in (*TABLES, PLAIN)):
        body = parse_body(_read_text(path))
        if task is not None and _are_rows(body["instances"], task, columns):
            body = {"instances": list(_read_examples(path, JSON_LINES, task, columns))}
    else:
        body = {"instances": _read_table(path, format_, task, columns, trained)}
    if task is None:
        return body
    return body | {"instances": [as_instance(example, task) for example in body["instances"]]}


def trained_columns(client: Client, model: str, which: Json) -> dict[str, str]:
    """Columns of the upload of the version that answers, by canonical names; none where not shown."""
    try:
        return client.driver.run(read_schema(model, which)).columns
    except RequestRefused:
        return {}


@contextmanager
def _stdin_file() -> Iterator[Path]:
    """What is on standard input as a file, since formats are read from files."""
    with TemporaryDirectory(prefix="recurra-") as folder:
        path = Path(folder, STDIN_NAME)
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield path


def _format_of(path: Path, formats: Sequence[str]) -> str:
    """The format of a file by its first bytes, where these tell, or its name without the compression's.

    Without a name that tells it is one of a task's `formats`, by the first line.
    """
    with _open(path) as file:
        head = file.read(file_kinds.SNIFF_BYTES)
    if (binary := file_kinds.binary_format(head)) is not None:
        return binary
    suffix = PurePath(file_kinds.uncompressed_name(path.name)).suffix.lower().removeprefix(".")
    named = file_kinds.OTHER_NAMES.get(suffix, suffix)
    if not named and formats != (ARCHIVE,) and head.strip() and not _is_json(head):
        return file_kinds.detect_format(formats, path.name, head)
    return JSON_LINES if named in DELIMITED and _is_json(head) else named


def _is_json(content: bytes) -> bool:
    return content.removeprefix(file_kinds.BOM).lstrip().startswith(JSON_STARTS)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """The content of a file; if it is damaged, the command ends with the reason."""
    try:
        with open_content(path) as file:
            yield file
    except DatasetInvalid as error:
        raise unusable(error) from None


def _read_content(path: Path) -> bytes:
    with _open(path) as file:
        return file.read()


def _read_text(path: Path) -> str:
    content = _read_content(path)
    if kind := file_kinds.foreign_kind(content[: file_kinds.SNIFF_BYTES]):
        raise InvalidInput(f"{path.name} is {kind[0]}, which is not read: {kind[1]}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path.name} is not UTF-8 text: {error}") from None


def _are_rows(instances: Sequence[Any], task: Task, columns: dict[str, str]) -> bool:
    """Whether objects are rows of a data set of which several make an instance, such as days of a series."""
    if not instances or not isinstance(instances[0], dict) or JSON_LINES not in task.formats:
        return False
    known = {
        field.encode_name for field in msgspec.structs.fields(task.instance)
    } | task.instance_names.keys()
    return (
        known.isdisjoint(instances[0]) and len(instances[0].keys() & {*task.columns, *columns.values()}) > 1
    )


def binary_field(fields: Sequence[TensorField]) -> str | None:
    """The field of an instance or a prediction that holds a file, where there is exactly one."""
    names = [field.name for field in fields if field.binary]
    return names[0] if len(names) == 1 else None


def as_instance(example: Any, task: Task) -> Any:
    """An example of a data set as an instance; unknown fields stay, so that the server names them."""
    if not isinstance(example, dict):
        return example
    known = {field.encode_name for field in msgspec.structs.fields(task.instance)}
    instance = {name: value for name, value in example.items() if name in known}
    for name in example.keys() - known:
        field = task.instance_names.get(name)
        if field is not None and field not in example:
            instance[field] = example[name]
        elif name not in task.columns:
            instance[name] = example[name]
    return instance


def _read_table(
    path: Path, format_: str, task: Task, columns: dict[str, str], trained: TrainedColumns
) -> list[Json]:
    """The examples of a file by the columns that are named, else by those of the upload or of the task."""
    names = columns or (trained() if format_ in TABLES else {})
    try:
        return list(_read_examples(path, format_, task, names))
    except InvalidInput:
        if columns or not names:
            raise
        try:
            return list(_read_examples(path, format_, task, {}))
        except InvalidInput:
            pass  # it has neither names: the fault is about those of the upload
        raise


def _read_examples(path: Path, format_: str, task: Task, columns: dict[str, str]) -> Iterator[Json]:
    """The examples of a table, an archive or a text, which is read by line if the task takes no whole one."""
    faults = Faults()
    try:
        source = open_source(path, format_, Mapping.checked(columns, task.columns), faults)
        examples = task.read_instances(source, faults)
        faults.check()
    except DatasetInvalid as error:
        raise unusable(error) from None
    if format_ != PLAIN or PLAIN in task.formats:
        yield from examples
        return
    lines = examples[0]["text"].split("\n")
    yield from ({"text": line} for line in (lines if lines[-1] else lines[:-1]))
