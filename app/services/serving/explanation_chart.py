"""An explanation as a picture: a bar for the influence of each step, below it what the gates did."""

from collections.abc import Sequence
from itertools import pairwise
from xml.sax.saxutils import escape

from app.services.jobs.diagnostics_chart import BOTTOM, LEFT, RIGHT, TOP, WIDTH, svg_colour, svg_text
from app.typedefs import Json

MAX_COLUMNS = 160  # of the picture; more steps share them
MAX_LABELS = 40  # below the columns
MAX_LABEL_CHARS = 24
BAR_HEIGHT, ROW_HEIGHT, GAP = 160, 14, 10
NAME_WIDTH = 130  # left of the rows
SIGNED = ("cell", "candidate")  # gates whose activations are from -1 to 1; the others are from 0 to 1


def draw(title: str, explanation: Json) -> str:
    """An SVG document of an explanation as the API answers it."""
    influence, labels = explanation["influence"], explanation["steps"]
    columns = _columns(len(influence))
    rows = [
        (f"{name}, {layer}", [_mean(values, column) for column in columns], name in SIGNED)
        for name, table in (*explanation["gates"].items(), ("hidden", explanation["hidden"]))
        for layer, values in zip(explanation["layers"], table, strict=True)
    ]
    below = TOP + BAR_HEIGHT + GAP
    height = below + ROW_HEIGHT * len(rows) + BOTTOM + 100
    note = f"{explanation['memory_length']:,} of {len(influence):,} steps hold nine tenths of the influence"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(note)}</desc>",
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            svg_text(LEFT, 24, f"Influence of the steps: {title}", size=16),
            svg_text(LEFT, 44, note),
            *_bars([sum(influence[column.start : column.stop]) for column in columns], columns, labels),
            *(
                element
                for index, (name, values, signed) in enumerate(rows)
                for element in _row(below + ROW_HEIGHT * index, name, values, signed=signed)
            ),
            *_labels(below + ROW_HEIGHT * len(rows) + GAP, columns, labels),
            "</svg>",
        ]
    )


def _columns(steps: int) -> list[range]:
    """The steps of each column."""
    count = min(steps, MAX_COLUMNS)
    ends = [round(index * steps / count) for index in range(count + 1)]
    return [range(first, last) for first, last in pairwise(ends)]


def _mean(values: Sequence[float], column: range) -> float:
    return sum(values[column.start : column.stop]) / len(column)


def _place(index: int, count: int) -> tuple[float, float]:
    """Where a column begins, and how wide it is."""
    width = (WIDTH - NAME_WIDTH - RIGHT) / count
    return NAME_WIDTH + index * width, width


def _bars(shares: Sequence[float], columns: Sequence[range], labels: Sequence[str]) -> list[str]:
    largest = max(shares) or 1.0
    bars = []
    for index, (share, column) in enumerate(zip(shares, columns, strict=True)):
        x, width = _place(index, len(columns))
        height = BAR_HEIGHT * share / largest
        bars.append(
            f'<rect x="{x:.1f}" y="{TOP + BAR_HEIGHT - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" fill="{svg_colour(1.0)}"><title>{_name(labels, column)}: '
            f"{share:.3g}</title></rect>"
        )
    return [svg_text(NAME_WIDTH - GAP, TOP + 12, f"{largest:.2g}", anchor="end"), *bars]


def _row(y: float, name: str, values: Sequence[float], *, signed: bool) -> list[str]:
    cells = [svg_text(NAME_WIDTH - GAP / 2, y + ROW_HEIGHT - 4, name, anchor="end", size=9)]
    for index, value in enumerate(values):
        x, width = _place(index, len(values))
        share = min(max((value + 1) / 2 if signed else value, 0.0), 1.0)
        cells.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{ROW_HEIGHT}" '
            f'fill="{svg_colour(share)}"/>'
        )
    return cells


def _labels(y: float, columns: Sequence[range], labels: Sequence[str]) -> list[str]:
    """Names of some columns, the first and the last among them, turned round to fit."""
    every = max(1, -(-len(columns) // MAX_LABELS))
    elements = []
    for index in range(0, len(columns), every):
        x, width = _place(index, len(columns))
        text = svg_text(0, 0, _shortened(labels[columns[index].start]), size=10)
        elements.append(f'<g transform="translate({x + width / 2:.1f} {y:.1f}) rotate(60)">{text}</g>')
    return elements


def _name(labels: Sequence[str], column: range) -> str:
    """Of a column: its step, or the first and the last of them."""
    ends = dict.fromkeys((_shortened(labels[column.start]), _shortened(labels[column.stop - 1])))
    return escape(" – ".join(ends))


def _shortened(label: str) -> str:
    """A label that is not too long, without what no XML may have."""
    clean = "".join(sign if sign.isprintable() else " " for sign in label)
    return clean if len(clean) <= MAX_LABEL_CHARS else clean[: MAX_LABEL_CHARS - 1] + "…"
