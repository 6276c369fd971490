"""Examples of a stored data set: drawn, played, or to be read as a whole."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from markupsafe import Markup
from nicegui import ui
from starlette.concurrency import run_in_threadpool

from app.page import charts, markup
from app.page.calls import CallRefused, path_of
from app.page.files import ReceivedFile
from app.page.predictions.notes import piano_roll
from app.page.predictions.tags import tagged_words
from app.page.predictions.texts import written_text
from app.page.state import page_state, root_path, service
from app.typedefs import Json

FILE_SUFFIX = "_base64"  # of the field with the content of an example that is a file
WAV_HEAD = b"RIFF"  # recordings come as they are stored, whatever they were named
MAX_NAME_CHARS = 60
MAX_DRAWN_COVARIATES, MAX_DRAWN_CHANNELS = 3, 4
MAX_READ_TOKENS, MAX_READ_CHARS = 2_000, 20_000
LONG_TEXT_CHARS = 80
NOT_READ = ("truncated", "length")  # fields of a row that say nothing of the example itself
SOUND = "audio/"  # how the media types begin of what has no pictures
SOUND_PLAYER = Markup("<p><audio controls src='{}' aria-label='{}'></audio></p>")
PICTURES_PLAYER = Markup("<p><video controls src='{}' aria-label='{}'></video></p>")


@dataclass(frozen=True)
class StoredExample:
    """An example as a whole; `files` are by the fields of an instance."""

    row: Json
    files: Mapping[str, ReceivedFile] = field(default_factory=dict)


async def load_example(dataset: str, index: int) -> StoredExample:
    """One example of a data set; raises `CallRefused`."""
    row: Json = (await service().get(path_of("datasets", dataset, "examples", index)))["example"]
    files: dict[str, ReceivedFile] = {}
    for name in [name for name in row if name.endswith(FILE_SUFFIX)]:
        encoded = row.pop(name)
        if encoded is not None:
            content = await run_in_threadpool(base64.b64decode, encoded)
            path = PurePath(str(row.get(name.removesuffix(FILE_SUFFIX)) or "example"))
            title = path.with_suffix(".wav").name if content.startswith(WAV_HEAD) else path.name
            files[name] = await page_state().examples.store(title, content)
    return StoredExample(row, files)


def needs_loading(row: Json, *, has_file: bool) -> bool:
    """Whether a row of a preview is not the whole example."""
    return has_file or bool(row.get("truncated"))


def example_names(rows: Sequence[Json]) -> dict[int, str]:
    """What to call the rows of a preview in a list to choose from."""
    return {index: f"{index + 1}: {_brief(row)}" for index, row in enumerate(rows)}


def _brief(row: Json) -> str:
    first: Any = next((value for value in row.values() if isinstance(value, str | list) and value), "")
    text = first if isinstance(first, str) else " ".join(map(str, first[:12]))
    return text if len(text) <= MAX_NAME_CHARS else text[:MAX_NAME_CHARS] + "…"


def is_plain(row: Json) -> bool:
    """Whether a row says all of its example as a line of a table."""
    return all(not isinstance(value, list | dict) for value in row.values())


async def show_examples(dataset: str, rows: Sequence[Json], *, has_file: bool) -> None:
    """A choice among the examples of a preview, and the chosen one."""

    async def draw(index: int) -> None:
        example, reason = StoredExample(rows[index]), ""
        if needs_loading(rows[index], has_file=has_file):
            try:
                example = await load_example(dataset, index)
            except CallRefused as error:
                reason = str(error)
        if chooser.value == index:  # nothing else was chosen meanwhile
            place.clear()
            with place:
                show_example(example, reason)

    chooser = ui.select(
        example_names(rows), value=0, label="Example", on_change=lambda event: draw(event.value)
    )
    chooser.props("outlined dense").classes("field wide")
    place = ui.element("div").props("aria-live=polite")
    await draw(0)


def show_example(example: StoredExample, reason: str = "") -> None:
    """An example by the fields that it has; `reason` is why it could not be loaded as a whole."""
    row = example.row
    if reason or row.get("truncated"):
        text = f"{'This is its beginning only. ' if row.get('truncated') else ''}{reason}"
        markup.show(Markup("<p class='note'>{}</p>").format(text))
    rest = {name: value for name, value in row.items() if name not in NOT_READ and value is not None}
    if "timestamps" in row:
        rest = _show_series(row, rest)
    elif _is_table(row.get("values")):
        _show_readings(rest.pop("values"))
    if "tokens" in rest:
        tokens, tags = rest.pop("tokens")[:MAX_READ_TOKENS], rest.pop("tags", None)
        markup.show(tagged_words(tokens, tags or [""] * len(tokens)))
    if notes := rest.pop("note_events", None):
        markup.show(piano_roll(notes[: charts.MAX_POINTS]))
    for file in example.files.values():
        show_player(file)
    long = [name for name, value in rest.items() if isinstance(value, str) and len(value) > LONG_TEXT_CHARS]
    for name in long:
        _show_long_text(name, rest.pop(name))
    if rest:
        markup.show(markup.facts(rest.items()))


def _show_long_text(name: str, text: str) -> None:
    """A text that scrolls by itself."""
    if len(text) > MAX_READ_CHARS:
        name = f"{name}: the first {MAX_READ_CHARS:,} of {len(text):,} characters"
    markup.show(
        Markup("<h3>{}</h3><div class='scroll' tabindex='0' role='region' aria-label='{}'>{}</div>").format(
            name, name, written_text("", text[:MAX_READ_CHARS])
        )
    )


def show_player(file: ReceivedFile) -> None:
    """What plays a file, where a browser may."""
    if file.media_type:
        player = SOUND_PLAYER if file.media_type.startswith(SOUND) else PICTURES_PLAYER
        markup.show(player.format(f"{root_path()}/files/{file.token}", file.name))


def _is_table(values: object) -> bool:
    return isinstance(values, list) and bool(values) and isinstance(values[0], list)


def _show_series(row: Json, rest: Json) -> Json:
    """The values over time, beside them columns to be switched on; returns what is not drawn."""
    covariates = rest.pop("covariates", {})
    numeric = {name: cells for name, cells in covariates.items() if _is_numeric(cells)}
    drawn = dict(list(numeric.items())[:MAX_DRAWN_COVARIATES])
    total, shown = int(row.get("length", len(row["values"]))), min(len(row["values"]), charts.MAX_POINTS)
    first = 0 if row.get("truncated") else len(row["values"]) - shown
    lines = {name: cells[first : first + shown] for name, cells in {"values": row["values"], **drawn}.items()}
    part = "" if shown == total else f"the {'last' if first else 'first'} {shown:,} of "
    description = f"{row.get('item_id') or 'The series'}: {part}{total:,} steps"
    markup.show(Markup("<h3>{}</h3>").format(description))
    charts.line_chart(description, row["timestamps"][first : first + shown], lines, hidden=list(drawn))
    if len(covariates) > len(drawn):
        others = ", ".join(name for name in covariates if name not in drawn)
        markup.show(Markup("<p class='note'>It has {} too.</p>").format(others))
    return {name: value for name, value in rest.items() if name not in ("timestamps", "values", "item_id")}


def _is_numeric(cells: Sequence[object]) -> bool:
    return all(cell is None or isinstance(cell, int | float) for cell in cells)


def _show_readings(values: Sequence[Sequence[float]]) -> None:
    channels = min(len(values[0]), MAX_DRAWN_CHANNELS)
    shown = values[: charts.MAX_POINTS]
    lines = {f"channel {channel + 1}": [step[channel] for step in shown] for channel in range(channels)}
    description = f"{channels} of {len(values[0])} channels over {len(values):,} steps"
    charts.line_chart(description, range(1, len(shown) + 1), lines, x_name="step")
