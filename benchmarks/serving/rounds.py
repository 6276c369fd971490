"""Contestants in turn, round after round."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.serving.contestants import Contestant
from benchmarks.serving.measure import Plan, Result, measure
from benchmarks.serving.processes import NoAnswer


@dataclass(frozen=True)
class Entry:
    """A contestant, with the network that it serves and the requests for it."""

    name: str  # of its results
    contestant: Contestant
    plan: Plan


def play(entries: Sequence[Entry], rounds: int) -> list[dict[str, Result]]:
    """All rounds, each with the next entry first; who does not start is left out of one."""
    played: list[dict[str, Result]] = []
    for number in range(rounds):
        shift = number % len(entries)
        results = {}
        for one in [*entries[shift:], *entries[:shift]]:
            try:
                results[one.name] = measure(one.contestant, one.plan, seed=number)
                message = results[one.name].line()
            except NoAnswer as failure:
                message = f"left out of this round: {failure}"
            print(f"round {number + 1}, {one.contestant.label}: {message}", flush=True)
        played.append(results)
    return played


def absent(entries: Sequence[Entry], played: Sequence[dict[str, Result]]) -> str:
    """A last paragraph about those that did not start, if there are any."""
    missing = [one.contestant.label for one in entries for each in played if one.name not in each]
    return f"\n\nDid not start in a round: {', '.join(missing)}." if missing else ""
