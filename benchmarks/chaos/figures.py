"""The tables of a run."""

import statistics
from collections import Counter
from collections.abc import Sequence

from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.watch import Growth
from benchmarks.report import table


def faults(ledger: Ledger, recoveries: dict[str, list[float]]) -> str:
    """How often each struck, and how long a job that lost its worker stood still."""
    counts = Counter(fault.kind for fault in ledger.faults)
    rows = []
    for kind, count in sorted(counts.items(), key=lambda item: -item[1]):
        seconds = recoveries.get(kind, [])
        cell = f"{statistics.median(seconds):.1f} / {max(seconds):.1f}" if seconds else ""
        rows.append([kind, count, cell])
    return table(["fault", "times", "seconds until the job it hit runs again, median / longest"], rows)


def jobs(ends: Counter[str], attempts: Counter[int]) -> str:
    """How they ended, and after how many attempts."""
    rows = [["ended as", ", ".join(f"{status}: {count}" for status, count in sorted(ends.items()))]]
    cell = ", ".join(f"{number}: {count}" for number, count in sorted(attempts.items()))
    rows.append(["attempts", cell])
    return table(["jobs", ""], rows)


def answers(ledger: Ledger) -> str:
    """What the API said."""
    return ", ".join(f"{what}: {count}" for what, count in sorted(ledger.statuses.items()))


def growth(result: Sequence[Growth]) -> str:
    """Of each role the process that grew most."""
    rows = []
    for role in sorted({one.process.role for one in result}):
        of_role = [one for one in result if one.process.role == role]
        files = max(of_role, key=lambda one: one.last.files - one.first.files)
        memory = max(of_role, key=lambda one: one.last.mib - one.first.mib)
        rows.append(
            [
                role,
                len(of_role),
                f"{max(one.seconds for one in of_role):.0f}",
                f"{files.first.files} → {files.last.files}",
                f"{memory.first.mib:.0f} → {memory.last.mib:.0f}",
            ]
        )
    return table(["process", "watched", "longest, s", "descriptors", "resident, MiB"], rows)
