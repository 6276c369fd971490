"""HTML for notebooks. Every text is escaped here, and nowhere else."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 420, 140  # of a chart, pixels
COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
STYLE = "text-align:left;padding:0 1em 0 0"


def html_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table under a title; numbers have four significant digits."""
    head = "".join(f"<th style='{STYLE}'>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td style='{STYLE}'>{escape(cell_text(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    return f"<div><b>{escape(title)}</b><table>{head}<tbody>{body}</tbody></table></div>"


def progress_bar(label: str, fraction: float, message: str) -> str:
    """A bar between a label and a message."""
    share = min(max(fraction, 0.0), 1.0)
    bar = f"<progress value='{share:.4f}' max='1' style='width:16em'></progress>"
    return f"<div>{escape(label)} {bar} {share:.0%} {escape(message)}</div>"


def line_chart(title: str, lines: Mapping[str, Sequence[float | None]]) -> str:
    """Lines over the numbers from 1, as SVG; values that are None are left out."""
    values = [value for line in lines.values() for value in line if value is not None]
    if not values:
        return f"<div>{escape(title)}: nothing yet</div>"
    low, high = min(values), max(values)
    steps = max(len(line) for line in lines.values())
    drawn, legend = "", ""
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        points = " ".join(
            f"{WIDTH * step / max(steps - 1, 1):.1f},{HEIGHT * (high - value) / ((high - low) or 1):.1f}"
            for step, value in enumerate(line)
            if value is not None
        )
        drawn += f"<polyline points='{points}' fill='none' stroke='{color}' stroke-width='2'/>"
        legend += f"<span style='color:{color}'>{escape(name)}</span> "
    size = f"width='{WIDTH}' height='{HEIGHT}' viewBox='-4 -4 {WIDTH + 8} {HEIGHT + 8}'"
    svg = f"<svg {size} role='img' aria-label='{escape(title)}'>{drawn}</svg>"
    scale = escape(f"{low:.4g} to {high:.4g}, {steps} epochs")
    return f"<div><b>{escape(title)}</b> {legend}<br>{svg}<br>{scale}</div>"


def cell_text(value: object) -> str:
    """The text of a cell: nothing for None, four significant digits of a number that is not whole."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
