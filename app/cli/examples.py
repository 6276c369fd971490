"""Files of examples as instances: what a data set says beyond an instance is left out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from app.cli.instances import from_csv
from app.cli.values import STDIN, body, read_text, refused
from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.contract import Faults, Task
from app.typedefs import Json

TABLES = ("csv", "tsv", "conll")
# Columns of data sets that are asked with under another name.
ASKED_AS = {
    "forecasting": {"target": "values"},
    "generation": {"text": "prompt"},
    "translation": {"source": "text"},
}


def read(path: Path, task_name: str, columns: dict[str, str]) -> Json:
    """Instances, and parameters where a JSON body has them, from a file in any form the task can be told."""
    kind, task = path.suffix.lower().removeprefix("."), TASKS.get(task_name)
    if task is None or path == STDIN or kind not in (*TABLES, "txt"):
        asked = body(read_text(path))
    elif task_name == "forecasting" and kind == "csv":
        return {"instances": from_csv(path, columns)}
    else:
        asked = {"instances": list(_rows(path, kind, task, columns))}
    if task is None:
        return asked
    return asked | {"instances": [fitted(instance, task) for instance in asked["instances"]]}


def fitted(instance: Any, task: Task) -> Any:
    """A row of a data set as an instance; fields that neither knows stay, so that the server names them."""
    if not isinstance(instance, dict):
        return instance
    known = {field.encode_name for field in msgspec.structs.fields(task.instance)}
    found = {name: value for name, value in instance.items() if name in known}
    for name in instance.keys() - known:
        other = ASKED_AS.get(task.name, {}).get(name)
        if other is not None and other not in instance:
            found[other] = instance[name]
        elif name not in task.columns:
            found[name] = instance[name]
    return found


def _rows(path: Path, kind: str, task: Task, columns: dict[str, str]) -> Iterator[Json]:
    """Rows of a table, sentences of CoNLL columns, a text whole as a prompt or else line by line."""
    faults = Faults()
    try:
        source = open_source(path, kind, Mapping.checked(columns, task.columns), faults)
        records = [record for _, record in source.records()]
        faults.check()
    except DatasetInvalid as error:
        raise refused(error) from None
    if kind != "txt" or task.name == "generation":
        yield from records
        return
    for line in records[0]["text"].split("\n"):
        if line.strip():
            yield {"text": line}
