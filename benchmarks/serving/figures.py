"""The tables of every contestant's own figures: medians over the rounds."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.report import table
from benchmarks.serving.contestants import CONTESTANTS
from benchmarks.serving.generator.messages import Report
from benchmarks.serving.measure import LOADS, Result
from benchmarks.serving.targets import Round

LABELS = {one.name: one.label for one in CONTESTANTS}


def measured(rounds: Sequence[Round], labels: Mapping[str, str]) -> Iterator[tuple[str, list[Result]]]:
    """Labels with their results of all rounds."""
    for name, label in labels.items():
        if matches := [each[name] for each in rounds if name in each]:
            yield label, matches


def rate(reports: Sequence[Report]) -> str:
    """Median of requests a second."""
    return f"{statistics.median(one.rate for one in reports):,.0f}"


def latency(reports: Sequence[Report]) -> str:
    """Medians of p50 and p99."""
    middle = statistics.median(one.p50 for one in reports)
    late = statistics.median(one.p99 for one in reports)
    return f"{middle:.1f} / {late:.1f}"


def errors(reports: Sequence[Report]) -> str:
    """How many, and how many of them were refusals: `429`."""
    refused = sum(one.refused for one in reports)
    return f"{sum(one.errors for one in reports):,}" + (f" ({refused:,} refused)" if refused else "")


def closed(rounds: Sequence[Round], clients: Sequence[int], labels: Mapping[str, str] = LABELS) -> str:
    """Requests a second and latencies of the closed loops."""
    rows = []
    for label, results in measured(rounds, labels):
        cells = [[result.closed[count] for result in results] for count in clients]
        rows.append([label, *[f"**{rate(cell)}** · {latency(cell)}" for cell in cells]])
    return table(
        ["closed loop", *[f"{count} clients" if count > 1 else "1 client" for count in clients]], rows
    )


def opened(
    rounds: Sequence[Round], labels: Mapping[str, str] = LABELS, shares: Sequence[float] = LOADS
) -> str:
    """Latencies of the open loops, and what a server costs."""
    rows: list[list[object]] = []
    for label, results in measured(rounds, labels):
        cells = [[result.opened[share] for result in results] for share in shares]
        faults = [report for result in results for report in result.reports()]
        rows.append(
            [
                label,
                *[f"{rate(cell)}: {latency(cell)}" for cell in cells],
                errors(faults),
                sum(report.wrong for report in faults),
                f"{statistics.median(max(result.cpu.items())[1] for result in results):.2f} ms",
                f"{statistics.median(result.idle for result in results):.1f} %",
                f"{statistics.median(result.memory for result in results):.0f} MiB",
                f"{statistics.median(result.start for result in results):.1f} s",
            ]
        )
    loads = [f"open loop at {share:.0%}" for share in shares]
    return table(
        ["server", *loads, "errors", "wrong", "CPU a request", "idle CPU", "memory", "first answer"], rows
    )
