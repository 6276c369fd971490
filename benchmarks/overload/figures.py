"""The tables of the section."""

from collections.abc import Sequence

from benchmarks.overload.cases import Case
from benchmarks.overload.measure import PATIENT, Result
from benchmarks.report import table
from benchmarks.serving.generator.messages import Report

SLOWER, GROWN, RECOVERY = 10.0, 1.1, 2.0


def label(one: Result) -> str:
    """The case and its load."""
    return f"{one.case.label}, {PATIENT:,} patient clients" if one.patient else one.case.label


def loads(results: Sequence[Result]) -> str:
    """What was offered, and what became of it."""
    head = [
        "network",
        "one client, p50 / p99",
        "capacity",
        "wanted / offered",
        "answered / refused",
        "answered, p50 / p99",
        "refused, p50 / p99",
    ]
    rows = []
    for one in results:
        flood = one.flood
        answered, refused = (flood.statuses.get(status, 0) / one.seconds for status in (200, 429))
        rows.append(
            [
                label(one),
                f"{one.alone.p50:.1f} / {one.alone.p99:.1f}",
                f"{one.full.rate:,.0f}",
                f"{flood.expected / one.seconds:,.0f} / {flood.offered / one.seconds:,.0f}",
                f"{answered:,.0f} / {refused:,.0f}",
                f"{flood.p50:.1f} / {flood.p99:.1f}",
                f"{flood.refused_p50:.1f} / {flood.refused_p99:.1f}",
            ]
        )
    return table(head, rows)


def memory(results: Sequence[Result]) -> str:
    """Of each part: before, most during, after."""
    parts = list(results[0].memory)
    rows = [
        [
            label(one),
            *(
                f"{sizes[0]:.0f} / {max(sizes[1:-1], default=sizes[0]):.0f} / {sizes[-1]:.0f}"
                for sizes in one.memory.values()
            ),
        ]
        for one in results
    ]
    return table(["network", *parts], rows)


def targets(results: Sequence[Result], closed_loops: Sequence[tuple[Case, Report]]) -> str:
    """What was wanted, and what was reached."""
    rows: list[list[str]] = []

    def add(what: str, wanted: str, result: str, *, reached: bool) -> None:
        rows.append([what, wanted, result, "yes" if reached else "**no**"])

    for one in results:
        name, others = label(one), one.others
        add(
            f"{name}: p99 answered / one client",
            f"≤ {SLOWER:g}",
            f"{one.slower:.1f}",
            reached=one.slower <= SLOWER,
        )
        add(
            f"{name}: neither right nor 429",
            "0",
            str(sum(others.values())) + said(others),
            reached=not others,
        )
        add(
            f"{name}: memory, last third / first",
            f"≤ {GROWN}",
            f"{one.grown:.2f}",
            reached=one.grown <= GROWN,
        )
        add(
            f"{name}: seconds to recover",
            f"≤ {RECOVERY:g}",
            f"{one.recovery:.2f}",
            reached=one.recovery <= RECOVERY,
        )
    for case, report in closed_loops:
        bad = report.errors + report.wrong
        add(
            f"{case.label}: refused of {case.clients} clients in a closed loop",
            "0",
            f"{bad}",
            reached=not bad,
        )
    return table(["what", "target", "reached", "kept"], rows)


def said(others: dict[int, int]) -> str:
    """Which they are."""
    return f" ({', '.join(f'{n} × {status}' for status, n in others.items())})" if others else ""
