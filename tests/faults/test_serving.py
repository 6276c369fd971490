"""Parts of a running service die or freeze under load: no wrong answer, honest refusals, recovery by itself.

What was measured is logged; `pytest --log-cli-level=INFO` shows it.
"""

import logging
import math
import os
import signal
import time
from bisect import bisect
from collections import Counter
from collections.abc import Iterator

import pytest

from app.lanes.wire import PRESENCE_TTL_SECONDS
from tests.faults.load import Load, Outcome, Verdict, network
from tests.faults.stack import PREDICTOR, SERVE, VALKEY, Stack, another_api, stack
from tests.faults.versions import Network, Sample, samples
from tests.support.fixtures.servers import until

log = logging.getLogger(__name__)

NETWORKS = [Network(seed) for seed in range(30)]
MOVES, ASKED = 200, 3  # and right answers between two moves
HALVES = "halves"  # an alias of two versions
TWO = (network(), network(HALVES))
RECOVERY_SECONDS = 60.0  # it takes 2 to 6 on two idle cores, and ten times as long on a slow machine


@pytest.fixture(scope="module")
def bodies() -> list[Sample]:
    return samples(NETWORKS, [4 + 3 * number % 37 for number in range(60)], seed=1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, bodies: list[Sample]) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("faults") / "data", NETWORKS, bodies[0]) as made:
        made.point(HALVES, versions={"1": 0.5, "2": 0.5})
        yield made


@pytest.fixture
def fire(served: Stack, bodies: list[Sample]) -> Load:
    """Requests for one version, and for two behind an alias."""
    served.point(version=1)
    return Load([served.port], bodies, TWO)


def told(what: str, load: Load, moment: float) -> None:
    begins, ends = load.silence(moment)
    counted = ", ".join(f"{number} {verdict}" for verdict, number in load.count().items())
    log.info("%s: silent from %.2f to %.2f s; %s", what, begins, ends, counted)


def versions(outcomes: list[Outcome], path: str) -> set[int | None]:
    return {one.version for one in outcomes if one.path == path and one.verdict is Verdict.RIGHT}


def test_predictors_are_killed(served: Stack, fire: Load) -> None:
    with fire:
        for _ in range(3):
            fire.flows()
            before = served.one(*PREDICTOR)
            moment = served.kill(*PREDICTOR)
            served.another(before, *PREDICTOR)
            fire.flows()
            told("predictor killed", fire, moment)
            assert fire.silence(moment)[1] < RECOVERY_SECONDS
    fire.check(Verdict.REFUSED)
    assert versions(fire.outcomes, TWO[0]) == {1}
    assert versions(fire.outcomes, TWO[1]) == {1, 2}


def test_the_serving_worker_is_killed(served: Stack, fire: Load) -> None:
    with fire:
        fire.flows()
        predictor, worker = served.one(*PREDICTOR), served.one(*SERVE)
        moment = served.kill(*SERVE)
        served.another(worker, *SERVE)
        served.another(predictor, *PREDICTOR)
        fire.flows()
        told("serving worker killed", fire, moment)
        assert fire.silence(moment)[1] < RECOVERY_SECONDS
    fire.check(Verdict.REFUSED)


def test_valkey_is_killed(served: Stack, fire: Load) -> None:
    with fire:
        fire.flows()
        before, predictor = served.one(*VALKEY), served.one(*PREDICTOR)
        moment = served.kill(*VALKEY)
        served.another(before, *VALKEY)
        fire.flows()
        told("Valkey killed", fire, moment)
        assert fire.silence(moment)[1] < RECOVERY_SECONDS
    fire.check(Verdict.REFUSED)
    assert served.one(*PREDICTOR) == predictor
    assert fire.count()[Verdict.REFUSED] > 0


def test_a_frozen_predictor_answers_nobody_who_has_given_up(served: Stack, bodies: list[Sample]) -> None:
    """Its answers come after the deadlines; connections go on with other requests and get their answers."""
    served.point(version=1)
    fire = Load([served.port], bodies, TWO, seconds=1.0)
    with fire:
        fire.flows()
        pid = served.one(*PREDICTOR)
        moment = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: fire.count()[Verdict.LATE] >= 16, PRESENCE_TTL_SECONDS, "two deadlines each")
        finally:
            os.kill(pid, signal.SIGCONT)
        fire.flows()
        told("predictor frozen", fire, moment)
    fire.check(Verdict.REFUSED, Verdict.LATE)
    assert served.one(*PREDICTOR) == pid


@pytest.mark.faults
def test_an_alias_moves_under_load(served: Stack, bodies: list[Sample]) -> None:
    """Two API processes; whoever asks after a move was answered gets the new version, from either."""
    served.point(version=1)
    with another_api(served.data_dir) as port:
        fire = Load([served.port, port], bodies, connections=4)
        moves = [(0.0, time.monotonic(), 1)]  # begin, end, version
        with fire:
            for move in range(MOVES):
                fire.flows(ASKED)
                begun, version = time.monotonic(), 1 + (move + 1) % 2
                served.point(version=version)
                moves.append((begun, time.monotonic(), version))
            fire.flows(ASKED)
    fire.check()
    begins = [begin for begin, _, _ in moves[1:]] + [math.inf]
    ends = [end for _, end, _ in moves]
    settled = 0
    for one in fire.outcomes:
        last = bisect(ends, one.sent) - 1
        if last >= 0 and one.ended < begins[last]:
            settled += 1
            assert one.version == moves[last][2], f"{one} after {moves[last]}"
    assert settled >= ASKED * MOVES
    taken = sorted(end - begin for begin, end, _ in moves[1:])
    log.info("moves take %.1f ms; %s, %d between moves", 1000 * taken[MOVES // 2], fire.count(), settled)


@pytest.mark.faults
def test_thirty_versions_at_random(served: Stack, bodies: list[Sample]) -> None:
    """Versions are loaded while others are computed."""
    os.kill(served.one(*PREDICTOR), signal.SIGKILL)  # the next one has none in memory
    fire = Load([served.port], bodies, [network(number) for number in range(1, len(NETWORKS) + 1)])
    with fire:
        until(lambda: len(answers(fire)) == len(NETWORKS), 10, "an answer of each version")
        fire.flows(200)
    fire.check()
    log.info("the slowest of %s after %.2f s", fire.count(), slowest(fire))


def answers(load: Load) -> Counter[int]:
    return Counter(one.version for one in list(load.outcomes) if one.version is not None)


def slowest(load: Load) -> float:
    return max(one.ended - one.sent for one in load.outcomes)
