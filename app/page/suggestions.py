"""Which task a file is for, guessed from its first bytes and what the tasks say they take."""

import csv
import json
import mimetypes
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.page.columns import Cells, guess_columns, role_of
from app.page.files import ReceivedFile
from app.typedefs import Json
from app.validation import file_kinds

HEAD_BYTES = 64 << 10
MAX_SHOWN_LINES, MAX_SHOWN_CHARS = 6, 300
MAX_MEMBERS = 20_000  # of an archive
ARCHIVE_MANIFEST = "manifest.jsonl"
DELIMITERS = {"csv": ",;|", "tsv": "\t"}
FORMAT_POINTS, COLUMN_POINTS = 1.0, 2.0
GUESS_POINTS = 1.0  # where all columns that a task requires are likely there, by other names
MAX_ROWS = 200  # of a table that are read


@dataclass(frozen=True)
class FileGlimpse:
    """What can be seen of a file before the service reads it."""

    format: str  # as the tasks name it; empty if it is none of theirs
    columns: tuple[str, ...] = ()  # of a table, fields of JSON lines or of a manifest, kinds of members
    lines: tuple[str, ...] = field(default=())  # the first ones
    rows: tuple[tuple[str, ...], ...] = ()  # the first ones of a table, without its head

    @property
    def table(self) -> dict[str, Cells]:
        """The cells of the first rows by columns; none where the file is no table."""
        return {
            column: [row[index] for row in self.rows if index < len(row)]
            for index, column in enumerate(self.columns)
        }


@dataclass(frozen=True)
class Suggestion:
    """A task with the reason why it is likely; more points are more likely."""

    task: str
    points: float
    reason: str


def glimpse(file: ReceivedFile) -> FileGlimpse:
    """Look at a file; it may be anything, so nothing is unpacked but the head of a manifest."""
    with file.path.open("rb") as content:
        head = content.read(HEAD_BYTES)
    name = file_kinds.uncompressed_name(file.name.lower())
    if file_kinds.compression(head) is not None:
        return FileGlimpse(_format_of(name))
    if zipfile.is_zipfile(file.path):
        return _glimpse_archive(file.path)
    format_name = file_kinds.binary_format(head) or _format_of(name)
    if b"\0" in head:
        return FileGlimpse(format_name)
    text = head.decode("utf-8", errors="replace").removeprefix("\ufeff")
    shown = tuple(line[:MAX_SHOWN_CHARS] for line in text.splitlines()[:MAX_SHOWN_LINES])
    if len(head) == HEAD_BYTES:
        text = text.rpartition("\n")[0] or text  # the last line may be cut
    columns = _columns_of(text, format_name)
    return FileGlimpse(format_name, columns, shown, _rows_of(text, format_name) if columns else ())


def _format_of(name: str) -> str:
    ending = Path(name).suffix.lstrip(".")
    return file_kinds.OTHER_NAMES.get(ending, ending)


def _columns_of(text: str, format_name: str) -> tuple[str, ...]:
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lstrip().startswith("{"):
        try:
            record = json.loads(first)
        except (ValueError, RecursionError):
            return ()
        return tuple(map(str, record)) if isinstance(record, dict) else ()
    if format_name not in DELIMITERS:
        return ()
    return next(iter(_read_rows([first], first, format_name)), ())


def _rows_of(text: str, format_name: str) -> tuple[tuple[str, ...], ...]:
    """The first rows of a table after its head."""
    lines = [line for line in text.splitlines() if line.strip()][: MAX_ROWS + 1]
    if format_name not in DELIMITERS or not lines:
        return ()
    return tuple(_read_rows(lines, lines[0], format_name)[1:])


def _read_rows(lines: Sequence[str], first: str, format_name: str) -> list[tuple[str, ...]]:
    delimiter = max(DELIMITERS[format_name], key=first.count)
    try:
        return [tuple(cell.strip() for cell in row) for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:  # such as a cell without an end
        return []


def _glimpse_archive(path: Path) -> FileGlimpse:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:MAX_MEMBERS]
            manifest = next((name for name in names if name.rsplit("/", 1)[-1] == ARCHIVE_MANIFEST), None)
            head = b""
            if manifest is not None:
                with archive.open(manifest) as member:
                    head = member.read(HEAD_BYTES)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        return FileGlimpse("zip")
    text = head.decode("utf-8", errors="replace")
    kinds = Counter(kind for name in names for kind in _media_of(name))
    fields = dict.fromkeys([*_columns_of(text, "jsonl"), *kinds])
    shown = text.splitlines()[:MAX_SHOWN_LINES] or names[:MAX_SHOWN_LINES]
    return FileGlimpse("zip", tuple(fields), tuple(line[:MAX_SHOWN_CHARS] for line in shown))


def _media_of(name: str) -> tuple[str, ...]:
    """The kinds of a member by its name: a MIDI file is audio to mimetypes, and midi first."""
    kind, _, subtype = (mimetypes.guess_type(name)[0] or "").partition("/")
    if not kind:
        return ()
    return (subtype,) if "midi" in subtype else (kind,)


def suggest(contents: FileGlimpse, tasks: Sequence[Json]) -> list[Suggestion]:
    """All tasks, the most likely one first."""
    suggestions = [_suggestion(contents, task) for task in tasks]
    return sorted(suggestions, key=lambda suggestion: -suggestion.points)


def _suggestion(contents: FileGlimpse, task: Json) -> Suggestion:
    points, reasons = 0.0, []
    if contents.format in task["formats"]:
        points += FORMAT_POINTS + FORMAT_POINTS / len(task["formats"])
        reasons.append(f"it takes {contents.format} files")
    own = {name.lower() for name in contents.columns}
    shared = [name for name in task["columns"] if name.lower() in own]
    points += COLUMN_POINTS * len(shared)
    if shared:
        reasons.append(f"the file has {', '.join(shared)}")
    required = [name for name in task["columns"] if role_of(name).required]
    guessed = guess_columns(task["columns"], contents.table) if contents.rows else {}
    likely = [guessed[name] for name in required if name in guessed and name not in shared]
    if likely and len(likely) == len(required) and contents.format in task["formats"]:
        points += GUESS_POINTS
        reasons.append(f"the file has {', '.join(likely)}, which look like {', '.join(required)}")
    return Suggestion(task["name"], points, " and ".join(reasons))
