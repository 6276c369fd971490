"""The tables of the section."""

from collections.abc import Sequence

from benchmarks.burst.measure import Result
from benchmarks.report import table

MEDIAN = 25.0  # milliseconds


def name(one: Result) -> str:
    """The servers and the clients."""
    return f"{one.servers.label}: {one.clients.label}"


def bursts(results: Sequence[Result]) -> str:
    """What was sent and how long it took."""
    head = [
        "submitted",
        "submits/s",
        "submit, median / p99",
        "polls/s",
        "poll, median / p99",
        "held polls answered with news",
        "errors",
        "jobs taken",
    ]
    rows = [
        [
            name(one),
            f"{one.submit_rate:,.0f}",
            f"{one.submit(0.5):.1f} / {one.submit(0.99):.1f}",
            f"{one.poll_rate:,.0f}",
            f"{one.poll(0.5):.1f} / {one.poll(0.99):.1f}",
            one.report.woken,
            one.errors,
            one.started,
        ]
        for one in results
    ]
    return table(head, rows)


def targets(results: Sequence[Result]) -> str:
    """What was wanted, and what was reached."""
    rows: list[list[object]] = []
    for one in results:
        median, order = one.submit(0.5), one.inversions
        rows += [
            [f"{name(one)}: median submit", f"< {MEDIAN:g} ms", f"{median:.1f} ms", _kept(median < MEDIAN)],
            [f"{name(one)}: errors", 0, one.errors, _kept(one.errors == 0)],
            [f"{name(one)}: pairs out of order", 0, order, _kept(order == 0)],
        ]
    return table(["what", "target", "reached", "kept"], rows)


def _kept(reached: object) -> str:
    return "yes" if reached else "**no**"
