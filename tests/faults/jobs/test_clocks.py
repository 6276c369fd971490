"""Workers whose clocks are wrong or jump: only the database's clock counts."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from app.database.engine import db_now
from tests.conftest import server_url
from tests.faults.jobs.harness import LEASE
from tests.faults.jobs.invariants import check
from tests.faults.jobs.parts import Part
from tests.faults.jobs.siege import Siege, siege
from tests.faults.jobs.twins import Twins

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

AHEAD, BEHIND = "+600", "-600"  # seconds
JUMPS = 10
EPOCHS = 72  # so that a training outlasts what is done to its clock
SLACK = 2.0  # seconds between two clocks that are one


@pytest.fixture(scope="session")
def lie(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library that lies about the time; it is compiled here."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return str(library)


def lying(library: str, wrong: Path) -> dict[str, str]:
    """The environment of a process whose clock is as wrong as a file says, and follows it at once."""
    return {"LD_PRELOAD": library, "WRONG_CLOCK": str(wrong)}


def set_clock(wrong: Path, offset: str) -> None:
    fresh = wrong.with_suffix(".part")
    fresh.write_text(f"{offset}\n")
    fresh.replace(wrong)


def worker(besieged: Siege, environment: dict[str, str]) -> Part:
    """A training worker with a clock of its own."""
    made = besieged.start("train", "workers.main", "--role", "train", **environment)
    besieged.wait_for_workers(made)
    return made


def now(besieged: Siege) -> float:
    with besieged.readers() as session:
        return float(session.execute(select(db_now())).scalar_one())


def skewed(besieged: Siege, library: str, twins: Twins) -> None:
    """The clocks of the two workers are twenty minutes apart, jump, and one of them is killed."""
    wanted = twins.of(EPOCHS)
    begun = now(besieged)
    clocks = [besieged.directory / "one.time", besieged.directory / "two.time"]
    for clock, offset in zip(clocks, (BEHIND, AHEAD), strict=True):
        set_clock(clock, offset)
    besieged.api()
    first = worker(besieged, lying(library, clocks[0]))
    job_id = besieged.submit(EPOCHS)
    besieged.until_checkpoint(job_id)
    worker(besieged, lying(library, clocks[1]))
    time.sleep(LEASE + 1)  # neither the API nor the other worker takes the lease for expired
    set_clock(clocks[0], AHEAD)
    set_clock(clocks[1], BEHIND)
    time.sleep(LEASE + 1)
    job = besieged.job(job_id)
    assert (job.attempt, job.crashes) == (1, 0), "it was reaped"
    first.kill()  # its last lease would last for ten minutes more, had it set that by its own clock
    besieged.until_attempt(job_id, 2, LEASE + 25)
    job = besieged.wait(job_id)
    assert (job.attempt, job.crashes) == (2, 1)
    assert besieged.weights(job_id) == wanted.weights
    times = [event.at for event in besieged.events(job_id)]
    assert begun - SLACK < times[0]
    assert times == sorted(times)
    assert times[-1] < now(besieged) + SLACK
    check(besieged, lost=[(job_id, 1)])


def test_clocks_that_are_wrong_and_jump(lie: str, twins: Twins, tmp_path: Path) -> None:
    with siege(tmp_path, server=server_url("RECURRA_TEST_DATABASE_URL")) as besieged:
        skewed(besieged, lie, twins)


def test_a_belief_in_ones_own_clock_is_noticed(lie: str, twins: Twins, tmp_path: Path) -> None:
    server = server_url("RECURRA_TEST_DATABASE_URL")
    with (
        siege(tmp_path, "database_clock", server) as besieged,
        pytest.raises(AssertionError, match="attempt 2"),
    ):
        skewed(besieged, lie, twins)


def jumping(besieged: Siege, library: str, twins: Twins) -> None:
    """On SQLite the database's clock is the machine's, which all share: it is set ahead again and again."""
    wanted = twins.of(EPOCHS)
    clock = besieged.directory / "all.time"
    set_clock(clock, "+0")
    besieged.environment |= lying(library, clock)
    besieged.api()
    besieged.worker()
    job_id = besieged.submit(EPOCHS)
    besieged.until_checkpoint(job_id)
    for jump in range(1, JUMPS + 1):
        set_clock(clock, f"+{jump * 600}")
        time.sleep(0.7)  # somewhere between two beats and two rounds
    job = besieged.wait(job_id)
    assert (job.attempt, job.crashes, job.failures) == (1, 0, 0), "it was reaped"
    assert besieged.weights(job_id) == wanted.weights
    check(besieged)


def test_a_clock_that_all_share_jumps(lie: str, twins: Twins, tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        jumping(besieged, lie, twins)


def test_leases_that_are_taken_at_first_sight_are_noticed(lie: str, twins: Twins, tmp_path: Path) -> None:
    with (
        siege(tmp_path, "second_look") as besieged,
        pytest.raises(AssertionError, match=r"lost 4 times|was reaped"),
    ):
        jumping(besieged, lie, twins)
