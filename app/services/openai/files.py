"""Files of OpenAI's interface: each is a data set of this service."""

from pathlib import Path

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Dataset
from app.errors import Invalid, Problem
from app.services.openai.completions import is_completion_task
from app.services.openai.pages import OpenaiPaging
from app.tasks import TASKS
from app.typedefs import Json

PURPOSE = "fine-tune"  # of every file
HEAD_BYTES = 1 << 16  # of a file, in which its first line is looked at
ONE_TEXT = '{"text": "…"}, with the prompt and what follows it in one text'
FOREIGN_LINES = (  # fields of a line that is no example here, and what it is
    ({"messages"}, "a chat"),
    ({"prompt", "completion"}, "a prompt with its completion"),
)


def file_object(row: Dataset) -> Json:
    """A data set as OpenAI's clients read a file."""
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.bytes,
        "created_at": int(row.created_at),
        "expires_at": None,
        "filename": row.filename,
        "purpose": PURPOSE,
        "status": "processed",
        "status_details": None,
    }


def list_files(session: Session, paging: OpenaiPaging) -> list[Dataset]:
    """The page's files, newest first, and one more if there are more."""
    return list(session.scalars(paging.apply(select(Dataset), Dataset.id)))


def default_task() -> str:
    """The task whose models complete prompts: what a file is for that says nothing else."""
    return next(name for name, task in TASKS.items() if is_completion_task(task))


def check_lines(path: Path, task_name: str) -> None:
    """Raise `Invalid` for a file with examples as OpenAI's models learn them, which no text alone is."""
    if not is_completion_task(TASKS.get(task_name)):
        return
    with path.open("rb") as file:
        line = file.readline(HEAD_BYTES)
    try:
        first = orjson.loads(line)
    except orjson.JSONDecodeError:
        return  # whatever it is, its reader says what is wrong
    for fields, kind in FOREIGN_LINES:
        if isinstance(first, dict) and fields <= first.keys():
            detail = f"line 1 is {kind}, but these models go on from texts: write each example as {ONE_TEXT}"
            raise Invalid(problems=[Problem("/file", detail)])
