"""What the part about predictions comes to: Recurra against servers that do less, and that do the same."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report import table
from benchmarks.serving.contestants import Contestant
from benchmarks.serving.measure import Result
from benchmarks.serving.targets import Round, Target, ratios

BARE, SAME = "bare network", "same work"
HEAD = ["request", "ratio", "target", "median of rounds", "rounds", "reached"]
AT, MOST = 32, 128  # clients


@dataclass(frozen=True)
class Comparison:
    """A figure of Recurra over that of another server, or of its own bare network."""

    what: str
    clients: int
    other: tuple[str, str]  # contestant and what it does
    sign: str = "≥"
    wanted: float | None = None  # nothing: for information

    def figure(self, result: Result) -> float:
        """Of one contestant in one round."""
        return FIGURES[self.what](result, self.clients)

    def title(self) -> str:
        """In the table."""
        contestant, work = self.other
        return f"{self.what} at {counted(self.clients)} / {contestant}, {work}"


FIGURES: Mapping[str, Callable[[Result, int], float]] = {
    "requests/s": lambda result, clients: result.closed[clients].rate,
    "p50": lambda result, clients: result.closed[clients].p50,
    "p99": lambda result, clients: result.closed[clients].p99,
    "CPU a request": lambda result, clients: result.cpu[clients],
}
BATCHING = [(name, work) for name in ("mosec", "litserve") for work in (BARE, SAME)]
P50_SHARE = 0.6  # of the best peer that batches, at one client
SHORT_FORECASTS = (
    Comparison("requests/s", AT, ("mosec", BARE), wanted=1.5),
    Comparison("requests/s", AT, ("mosec", SAME), wanted=3.0),
    Comparison("requests/s", AT, ("recurra", BARE), wanted=0.7),
    Comparison("requests/s", MOST, ("mosec", BARE), wanted=1.0),
    Comparison("requests/s", MOST, ("mosec", SAME), wanted=1.0),
    Comparison("p99", AT, ("mosec", BARE), "≤", 1.0),
    Comparison("p99", AT, ("mosec", SAME), "≤", 1.0),
)
OTHERS = tuple(
    Comparison("requests/s", AT, (name, work)) for name in ("litserve", "fastapi") for work in (BARE, SAME)
)
CPU = tuple(Comparison("CPU a request", AT, ("mosec", work), "≤") for work in (BARE, SAME))
TEXTS = (
    Comparison("requests/s", AT, ("fastapi", SAME), wanted=3.0),
    Comparison("requests/s", 1, ("fastapi", SAME), wanted=0.9),
    *(Comparison("requests/s", AT, (name, SAME)) for name in ("mosec", "litserve")),
    Comparison("CPU a request", AT, ("fastapi", SAME), "≤"),
)


def counted(clients: int) -> str:
    """How many clients."""
    return f"{clients} clients" if clients > 1 else "1 client"


def name_of(subject: str, contestant: Contestant | str, work: str) -> str:
    """Of an entry's results."""
    known = contestant if isinstance(contestant, str) else contestant.name
    return f"{subject}, {known}, {work}"


def comparisons(subject: str) -> tuple[Comparison, ...]:
    """What is compared of a subject; long series have no targets."""
    if not subject.startswith("forecast"):
        return TEXTS
    known = (*SHORT_FORECASTS, *OTHERS, *CPU)
    if subject.startswith("forecast-64"):
        return known
    return tuple(Comparison(one.what, one.clients, one.other, one.sign) for one in known)


def alone(rounds: Sequence[Round], subject: str) -> list[float]:
    """The median latency of one client over that of the best peer that batches, in each round."""
    ours, found = name_of(subject, "recurra", SAME), []
    for one in rounds:
        peers = [one[name] for work in BATCHING if (name := name_of(subject, *work)) in one]
        if ours in one and peers:
            best = min(peer.closed[1].p50 for peer in peers)
            found.append(one[ours].closed[1].p50 / best)
    return found


def targets(
    rounds: Sequence[Round], subjects: Sequence[str], clients: Sequence[int]
) -> Iterator[tuple[str, Target]]:
    """Each subject with every comparison whose cells were measured."""
    for subject in subjects:
        ours = name_of(subject, "recurra", SAME)
        for one in comparisons(subject):
            if one.clients in clients:
                found = ratios(rounds, one.figure, name_of(subject, *one.other), ours)
                yield subject, Target(one.title(), one.sign, one.wanted, found)
        if 1 in clients:
            wanted = P50_SHARE if subject.startswith("forecast-64") else None
            title = "p50 at 1 client / best peer that batches"
            yield subject, Target(title, "≤", wanted, alone(rounds, subject))


def headline(rounds: Sequence[Round], subjects: Sequence[str], clients: Sequence[int]) -> str:
    """The table of ratios: those with a target first."""
    found = [(subject, target) for subject, target in targets(rounds, subjects, clients) if target.ratios]
    found.sort(key=lambda pair: pair[1].wanted is None)
    return table(HEAD, [[subject, *target.row()] for subject, target in found])
