"""Which column of a file plays which role of a task, guessed from names and from the first rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

Cells = Sequence[str]  # of one column, in the first rows

TIME_PATTERN = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ]\d{1,2}(:\d{2})*.*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}(\s.*)?"
)
NUMBER_PATTERN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
MISSING_CELLS = ("", "na", "nan", "null", "none")
CHOOSE_ABOVE = "choose the column above"
# How a fault of the service names what this page has as choices.
BY_COLUMNS = re.compile(r"name (it|the column that has it) with `columns`")


class CellKind(StrEnum):
    """What the cells of a column are like."""

    TIME = "time"
    NUMBER = "number"
    TEXT = "text"


@dataclass(frozen=True)
class ColumnRole:
    """What a canonical column is for; `names` are other names by which people call it."""

    description: str
    names: tuple[str, ...] = ()
    required: bool = False  # of every table


ROLES: Mapping[str, ColumnRole] = {
    "ds": ColumnRole(
        "When: a date, a time stamp or a whole number.",
        ("date", "time", "timestamp", "datetime", "day", "week", "month", "year", "period"),
        required=True,
    ),
    "y": ColumnRole(
        "What to forecast: a number.",
        ("value", "target", "sales", "demand", "quantity", "count", "amount", "units", "price", "load"),
        required=True,
    ),
    "unique_id": ColumnRole(
        "Which series a row belongs to; leave it for a file with one series.",
        ("id", "item_id", "item", "series", "series_id", "store", "shop", "sku", "product", "sensor", "key"),
    ),
    "text": ColumnRole(
        "The text to learn from.",
        ("sentence", "message", "review", "comment", "content", "body", "utterance", "transcript"),
        required=True,
    ),
    "label": ColumnRole(
        "The right answer, to train on.",
        ("class", "category", "target", "sentiment", "intent", "topic", "y"),
    ),
    "source": ColumnRole("The text to translate.", ("src", "from", "input"), required=True),
    "target": ColumnRole("Its translation, to train on.", ("tgt", "trg", "to", "output")),
    "tokens": ColumnRole("The words of a sentence, a list.", ("words",)),
    "tags": ColumnRole("The tag of each word, to train on.", ("ner_tags", "pos_tags", "labels")),
    "values": ColumnRole("In place of a text: readings of sensors, a list.", ("readings",)),
    "audio": ColumnRole("The name of a recording in the archive.", ("audio_filepath", "path", "file")),
    "midi": ColumnRole("The name of a MIDI file in the archive.", ("path", "file")),
    "split": ColumnRole("Optional: train, valid or test in each row; without it the service splits."),
}
UNKNOWN_ROLE = ColumnRole("What the task reads by this name.")


def role_of(name: str) -> ColumnRole:
    """What is known of a canonical column; a general one where it is not known here."""
    return ROLES.get(name, UNKNOWN_ROLE)


def guess_columns(roles: Sequence[str], table: Mapping[str, Cells]) -> dict[str, str]:
    """The likely column of some of the roles of a task: by its name, else by the cells of the first rows.

    A `table` without cells, such as JSON Lines, has names only. No column has two roles.
    """
    guessed: dict[str, str] = {}
    for names in (lambda role: (role,), lambda role: role_of(role).names):
        for role in roles:
            own = {_plain(column): column for column in table if column not in guessed.values()}
            match = next((own[name] for name in map(_plain, names(role)) if name in own), None)
            if role not in guessed and match is not None:
                guessed[role] = match
    return guessed | _guess_by_cells(roles, table, guessed)


def _guess_by_cells(
    roles: Sequence[str], table: Mapping[str, Cells], guessed: Mapping[str, str]
) -> dict[str, str]:
    added: dict[str, str] = {}
    rest = {column: cells for column, cells in table.items() if column not in guessed.values() and any(cells)}
    for role in ("ds", "y", "unique_id", "source", "text", "target", "label"):
        if role not in roles or role in guessed:
            continue
        times = table.get(guessed.get("ds") or added.get("ds", ""), ())
        if (column := _by_cells(role, rest, times)) is not None:
            added[role] = column
            del rest[column]
    return added


def _by_cells(role: str, rest: Mapping[str, Cells], times: Cells) -> str | None:
    """The column whose cells suit a role best; None if none does."""
    kinds = {column: kind_of(cells) for column, cells in rest.items()}
    texts = [column for column, kind in kinds.items() if kind is CellKind.TEXT]
    match role:
        case "ds":
            return next((column for column, kind in kinds.items() if kind is CellKind.TIME), None)
        case "y":  # a target stands last more often than not
            return next((column for column in reversed(kinds) if kinds[column] is CellKind.NUMBER), None)
        case "unique_id":
            return next((column for column in texts if _is_series_name(rest[column], times)), None)
        case "text":
            return max(texts, key=lambda column: sum(map(len, rest[column])), default=None)
        case "label":  # few values; where all rows differ it is no label
            few = [column for column, cells in rest.items() if len(set(cells)) <= max(2, len(cells) // 2)]
            return min(few, key=lambda column: len(set(rest[column])), default=None)
        case _:
            return next(iter(texts), None)


def _is_series_name(cells: Cells, times: Cells) -> bool:
    """Whether a time never repeats within a series, and either times do over series or there is only one."""
    pairs = list(zip(cells, times, strict=False))
    is_needed = len(set(times)) < len(times) or len(set(cells)) == 1
    return bool(pairs) and is_needed and len(set(pairs)) == len(pairs)


def kind_of(cells: Cells) -> CellKind:
    """What all cells that are not missing are like."""
    present = [cell.strip() for cell in cells if cell.strip().lower() not in MISSING_CELLS]
    for kind, pattern in ((CellKind.TIME, TIME_PATTERN), (CellKind.NUMBER, NUMBER_PATTERN)):
        if present and all(pattern.fullmatch(cell) for cell in present):
            return kind
    return CellKind.TEXT


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def for_this_page(detail: str) -> str:
    """A fault about a missing column, with what to do about it on this page."""
    return BY_COLUMNS.sub(CHOOSE_ABOVE, detail)
