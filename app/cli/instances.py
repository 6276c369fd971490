"""Instances to predict, from a file in any form that its task can read."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.cli.values import STDIN, parse_body, read_text, usage_error
from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.contract import Task, TensorField, bytes_to_json
from app.tasks.source import Faults
from app.typedefs import Json

TABLES = ("csv", "tsv", "conll")
PLAIN, ARCHIVE = "txt", "zip"
JSON_STARTS = (b"{", b"[")


def read_instances(path: Path, task_name: str, columns: dict[str, str]) -> Json:
    """The body of a prediction request: instances, and parameters where a JSON file has them.

    Columns of a data set that are not part of an instance, such as labels, are left out. Where an instance is
    a file, such as a recording, another file than JSON is one instance.
    """
    format_, task = path.suffix.lower().removeprefix("."), TASKS.get(task_name)
    archive = task is not None and format_ == ARCHIVE and ARCHIVE in task.formats
    field = None if task is None or archive or path == STDIN else binary_field(task.tensor_inputs)
    if field is not None and not (content := path.read_bytes()).lstrip().startswith(JSON_STARTS):
        return {"instances": [{field: bytes_to_json(content)}]}
    if task is None or path == STDIN or not (archive or format_ in (*TABLES, PLAIN)):
        body = parse_body(read_text(path))
    else:
        body = {"instances": list(_read_examples(path, format_, task, columns))}
    if task is None:
        return body
    return body | {"instances": [as_instance(example, task) for example in body["instances"]]}


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


def _read_examples(path: Path, format_: str, task: Task, columns: dict[str, str]) -> Iterator[Json]:
    """The examples of a table, an archive or a text, which is read by line if the task takes no whole one."""
    faults = Faults()
    try:
        source = open_source(path, format_, Mapping.checked(columns, task.columns), faults)
        examples = task.read_instances(source, faults)
        faults.check()
    except DatasetInvalid as error:
        raise usage_error(error) from None
    if format_ != PLAIN or PLAIN in task.formats:
        yield from examples
        return
    for line in examples[0]["text"].split("\n"):
        if line.strip():
            yield {"text": line}
