"""Recurra against the others: a ratio in each round, and what it should be."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report import table
from benchmarks.serving.contestants import CONTESTANTS, RECURRA_UP
from benchmarks.serving.measure import Result

Round = Mapping[str, Result]  # by contestant
Figure = Callable[[Result], float]

RECURRA = RECURRA_UP.name
AT = 32  # clients
FASTER = {"mosec": 1.5, "litserve": 5.0, "bentoml": 8.0, "celery": 25.0}  # times their requests/s
P50_SHARE, P99_SHARE, MIXED_SHARE = 0.6, 1.0, 0.7
BATCHING = [one.name for one in CONTESTANTS if one.batching and one is not RECURRA_UP]


@dataclass(frozen=True)
class Target:
    """A ratio, what it should be (nothing: for information), and what it was in each round."""

    what: str
    sign: str  # ≥ or ≤
    wanted: float | None
    ratios: Sequence[float]

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.ratios)

    def reached(self) -> str:
        """Whether the median is what was wanted."""
        if self.wanted is None:
            return ""
        kept = self.median >= self.wanted if self.sign == "≥" else self.median <= self.wanted
        return "yes" if kept else "**no**"

    def row(self) -> list[str]:
        """A line of the table."""
        wanted = "" if self.wanted is None else f"{self.sign} {self.wanted:g}"
        return [self.what, wanted, *self.found(), self.reached()]

    def found(self) -> list[str]:
        """The median, and the rounds it is the median of."""
        return [f"{self.median:.2f}", f"{min(self.ratios):.2f} to {max(self.ratios):.2f}"]


def rate(result: Result) -> float:
    """Requests a second at `AT` clients."""
    return result.closed[AT].rate


def late(result: Result) -> float:
    """The 99th percentile at `AT` clients."""
    return result.closed[AT].p99


def alone(result: Result) -> float:
    """The median latency of one client."""
    return result.closed[1].p50


def ratios(rounds: Sequence[Round], figure: Figure, name: str, ours: str = RECURRA) -> list[float]:
    """Recurra's figure over a contestant's, in each round."""
    return [figure(one[ours]) / figure(one[name]) for one in rounds if {ours, name} <= set(one)]


def targets(rounds: Sequence[Round], clients: Sequence[int]) -> Iterator[Target]:
    """Every comparison whose cells were measured."""
    for peer in CONTESTANTS:
        if peer is not RECURRA_UP and AT in clients:
            found = ratios(rounds, rate, peer.name)
            yield Target(f"requests/s at {AT} clients / {peer.label}", "≥", FASTER.get(peer.name), found)
    if 1 in clients:
        found = [
            alone(one[RECURRA]) / min(alone(one[name]) for name in BATCHING if name in one)
            for one in rounds
            if RECURRA in one and any(name in one for name in BATCHING)
        ]
        yield Target("p50 at 1 client / best peer that batches", "≤", P50_SHARE, found)
    if AT in clients:
        yield Target(f"p99 at {AT} clients / mosec", "≤", P99_SHARE, ratios(rounds, late, "mosec"))
    lengths = [one[RECURRA].lengths for one in rounds if RECURRA in one]
    what = "steps/s of mixed lengths (16 to 512) / equal lengths"
    found = [one["mixed"].steps_rate / one["mean"].steps_rate for one in lengths]
    yield Target(f"{what} of the same mean", "≥", MIXED_SHARE, found)
    found = [one["mixed"].rate / one["mean"].rate for one in lengths]
    yield Target("requests/s of the same", "≥", None, found)
    if AT in clients:
        pairs = [(one[RECURRA].lengths["mixed"], one[RECURRA].closed[AT]) for one in rounds if RECURRA in one]
        found = [mixed.steps_rate / equal.steps_rate for mixed, equal in pairs]
        yield Target("steps/s of mixed lengths / 64 steps each", "≥", None, found)


def comparison(rounds: Sequence[Round], clients: Sequence[int]) -> str:
    """The table of targets."""
    head = ["ratio", "target", "median of rounds", "rounds", "reached"]
    return table(head, [target.row() for target in targets(rounds, clients) if target.ratios])
