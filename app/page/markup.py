"""HTML from data: whatever is put in is escaped, as `Markup.format` does it."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from markupsafe import Markup, escape
from nicegui import ui

from app.page.state import root_path
from app.typedefs import Json

MAX_CELL_CHARS = 300  # of a value in a table
MAX_CELL_NUMBERS = 8  # of a list in a table
EMPTY = Markup("<span class='faint'>–</span>")

Cell = object  # a value, or Markup


def show(html: Markup) -> ui.html:
    """An element with HTML of this module."""
    return ui.html(html, sanitize=False)


def table(
    head: Sequence[Cell], rows: Iterable[Sequence[Cell]], caption: str, *, numeric: bool = False
) -> Markup:
    """A table that scrolls by itself where it is wide; the first cell of a row is its heading."""
    columns = Markup("").join(
        Markup("<th scope='col'>{}</th>").format(cell(name)) if name else Markup("<td></td>") for name in head
    )
    body = Markup("").join(_row(row) for row in rows)
    return Markup(
        "<div class='scroll' tabindex='0' role='region' aria-label='{}'><table class='{}'>"
        "<caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(caption, "numeric" if numeric else "", caption, columns, body)


def _row(row: Sequence[Cell]) -> Markup:
    first = Markup("<th scope='row'>{}</th>").format(cell(row[0]))
    return Markup("<tr>{}{}</tr>").format(
        first, Markup("").join(Markup("<td>{}</td>").format(cell(value)) for value in row[1:])
    )


def facts(pairs: Iterable[tuple[str, Cell]]) -> Markup:
    """Names with their values."""
    items = (Markup("<dt>{}</dt><dd>{}</dd>").format(name, cell(value)) for name, value in pairs)
    return Markup("<dl class='facts'>{}</dl>").format(Markup("").join(items))


def code(text: str) -> Markup:
    """Preformatted text that scrolls by itself."""
    return Markup("<pre class='code' tabindex='0'>{}</pre>").format(text)


def link(path: str, text: str) -> Markup:
    """A link to a view of the page, by its path below the page's root."""
    return Markup("<a href='{}{}'>{}</a>").format(root_path(), path, text)


def status_badge(status: str) -> Markup:
    """The state of a job."""
    return Markup("<span class='badge {}'>{}</span>").format(status, status)


def cell(value: Cell) -> Markup:
    """A value as a table shows it: numbers rounded, lists and texts cut."""
    if isinstance(value, Markup):
        return value
    if value is None or value == "":
        return EMPTY
    if isinstance(value, bool):
        return escape("yes" if value else "no")
    if isinstance(value, int | float):
        return escape(number(value))
    if isinstance(value, list | tuple):
        shown = ", ".join(_brief(inner) for inner in value[:MAX_CELL_NUMBERS])
        return escape(shown + (f", … ({len(value):,})" if len(value) > MAX_CELL_NUMBERS else ""))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return escape(text if len(text) <= MAX_CELL_CHARS else text[:MAX_CELL_CHARS] + "…")


def _brief(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return number(value)


def number(value: float) -> str:
    """A number with at most five significant digits, integers in full."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.5g}"


def byte_size(count: float) -> str:
    """A size in bytes for people."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


def duration(seconds: float) -> str:
    """A time span for people, to the second below a minute and in two units above."""
    whole = round(seconds)
    for size, unit, below, smaller in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {smaller}"
    return f"{whole} s"


def moment(text: str | None) -> Markup:
    """A time stamp of the API, to the second."""
    if text is None:
        return EMPTY
    shown = datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")
    return Markup("<time datetime='{}'>{}</time>").format(text, shown)


def flatten(values: Json, prefix: str = "") -> dict[str, object]:
    """A nested object as one, with dotted names."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
