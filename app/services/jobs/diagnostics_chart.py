"""Diagnostics as a picture: the gradient by lag, a curve for each epoch that was looked at, as SVG."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from app.typedefs import Json

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 64, 50  # margins
DECADES = 12  # below the largest gradient; what is smaller lies on the bottom line
TICKS = 5
EARLY, LATE = (190, 205, 225), (20, 80, 160)  # colours of the first and of the last curve


def draw(diagnostics: Json) -> str:
    """An SVG document; an empty chart that says so before there is anything to draw."""
    entries = [*diagnostics["epochs"], *diagnostics["final"]]
    curves = [entry["gradient_by_lag"] for entry in entries]
    longest = max((curve[-1][0] for curve in curves), default=1) or 1
    paths = [
        _path(curve, longest, svg_colour(place / max(len(curves) - 1, 1)), f"epoch {entry['epoch']}")
        for place, (entry, curve) in enumerate(zip(entries, curves, strict=True))
    ]
    verdict = diagnostics["verdict"]
    title = "Gradient by lag" + (f": {verdict}" if verdict else "")
    notes = diagnostics["rule"] or ("" if entries else "nothing has been measured yet")
    if entries and not diagnostics["rule"]:
        notes = f"{entries[-1]['memory_length']:,} steps hold nine tenths of the gradient"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(notes)}</desc>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            svg_text(LEFT, 24, title, size=16),
            svg_text(LEFT, 44, notes),
            *_axes(longest),
            *paths,
            "</svg>",
        ]
    )


def _x(lag: float, longest: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * lag / longest


def _y(share: float) -> float:
    """Where a share of the largest gradient lies, by its logarithm."""
    depth = min(-math.log10(share), DECADES) if share > 0 else DECADES
    return TOP + (HEIGHT - TOP - BOTTOM) * depth / DECADES


def _path(curve: Sequence[Sequence[float]], longest: int, colour: str, name: str) -> str:
    largest = max(norm for _, norm in curve) or 1.0
    points = " ".join(f"{_x(lag, longest):.1f},{_y(norm / largest):.1f}" for lag, norm in curve)
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2">'
        f"<title>{escape(name)}</title></polyline>"
    )


def svg_colour(share: float) -> str:
    """A colour between the light one at 0 and the dark one at 1."""
    parts = (round(early + share * (late - early)) for early, late in zip(EARLY, LATE, strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)


def _axes(longest: int) -> list[str]:
    lines = []
    for decade in range(0, DECADES + 1, 3):
        height = _y(10.0**-decade)
        lines += [
            f'<line x1="{LEFT}" y1="{height:.1f}" x2="{WIDTH - RIGHT}" y2="{height:.1f}" stroke="#ddd"/>',
            svg_text(LEFT - 8, height + 4, "1" if decade == 0 else f"1e-{decade}", anchor="end"),
        ]
    for tick in range(TICKS):
        lag = round(tick * longest / (TICKS - 1))
        lines.append(svg_text(_x(lag, longest), HEIGHT - BOTTOM + 20, f"{lag:,}", anchor="middle"))
    lines.append(svg_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "steps before the last", anchor="middle"))
    return lines


def svg_text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13) -> str:
    """An element with a text at a place."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-family="sans-serif" font-size="{size}"'
    return f"<text {place}>{escape(text)}</text>"
