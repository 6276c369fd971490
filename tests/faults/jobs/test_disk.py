"""A disk that fills up costs what there was no room for, and nothing that was there before."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis

from app.infrastructure.checkpoint_name import verify_checkpoint as whole
from app.services.jobs import checkpoints
from app.states import Status
from tests.faults.jobs.harness import QUICK, SAMPLE, STEADY
from tests.faults.jobs.invariants import check
from tests.faults.jobs.siege import Siege, siege
from tests.faults.jobs.twins import Twins
from tests.support.fixtures.servers import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

SIZE = 96 << 20  # bytes, more than an upload must leave free
FILLER = "filler"


class Disk:
    """A small file system."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self) -> None:
        """Nothing more fits, not even into what is free of the last page."""
        with (self.place / FILLER).open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(b"\0" * size):
                        pass
                except OSError:
                    continue
        assert shutil.disk_usage(self.place).free == 0

    def free(self) -> None:
        """There is room again."""
        (self.place / FILLER).unlink(missing_ok=True)


@contextmanager
def disk(place: Path) -> Iterator[Disk]:
    """A file system of its own at a directory; skipped where mounting is not permitted."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or os.geteuid() != 0:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def warned(besieged: Siege, job_id: str, text: str) -> bool:
    return any(text in event.data["message"] for event in besieged.events(job_id, "warning"))


# F12


def store_full_meanwhile(besieged: Siege, twins: Twins) -> None:
    """The artifact store is full while a job trains, and has room again before it ends."""
    wanted = twins.of(STEADY)
    with disk(besieged.directory / "storage") as store:
        besieged.api()
        besieged.worker()
        job_id = besieged.submit(STEADY)
        besieged.until_checkpoint(job_id)
        store.fill()
        before = besieged.checkpoint_steps(job_id)
        besieged.until(job_id, lambda _: warned(besieged, job_id, "the artifact store is full"), "a warning")
        kept = list(checkpoints.newest_first(besieged.storage, job_id))
        assert set(before) & set(besieged.checkpoint_steps(job_id))
        for key in kept:
            path = besieged.directory / Path(key).name
            besieged.storage.fetch_file(key, path)
            whole(path)
        assert besieged.job(job_id).status == Status.RUNNING
        store.free()
        job = besieged.wait(job_id)
        assert (job.attempt, job.crashes, job.failures) == (1, 0, 0)
        assert besieged.weights(job_id) == wanted.weights
        check(besieged)


def test_no_room_for_a_checkpoint(twins: Twins, tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        store_full_meanwhile(besieged, twins)


def test_a_training_that_ends_for_it_is_noticed(twins: Twins, tmp_path: Path) -> None:
    with siege(tmp_path, "optional_checkpoint") as besieged, pytest.raises(AssertionError, match="a warning"):
        store_full_meanwhile(besieged, twins)


def store_full_at_the_end(besieged: Siege) -> None:
    """There is no room for the result; once there is, the next job succeeds."""
    with disk(besieged.directory / "storage") as store:
        besieged.api()
        worker = besieged.worker()
        besieged.dataset()
        store.fill()
        job = besieged.wait(besieged.submit(QUICK), Status.FAILED)
        assert job.error_code == "no_space"
        assert job.error_message == "The artifact store is full"
        assert besieged.storage.keys("artifacts") == []
        with redis.Redis.from_url(besieged.redis_url) as client:
            assert client.ping()
        store.free()
        besieged.wait(besieged.submit(QUICK))
        assert worker.alive
        check(besieged)


def test_no_room_for_the_result(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        store_full_at_the_end(besieged)


def test_an_error_that_does_not_say_so_is_noticed(tmp_path: Path) -> None:
    with siege(tmp_path, "full") as besieged, pytest.raises(AssertionError, match=r"'storage'|worker"):
        store_full_at_the_end(besieged)


def store_full_at_upload(besieged: Siege) -> None:
    """There is room for a file on its way, and none to keep it."""
    with disk(besieged.directory / "storage") as store:
        besieged.api()
        store.fill()
        answer = upload(besieged)
        assert answer.status_code == 507, answer.text
        assert answer.json()["type"] == "/problems/no-space"
        left = [path.name for path in store.place.rglob("*") if path.is_file()]
        assert left == [FILLER]
        assert list((besieged.data_dir / "incoming").iterdir()) == []
        store.free()
        assert upload(besieged).status_code == 201


def upload(besieged: Siege) -> httpx.Response:
    """Upload the sample, and have it stored even where it is there already."""
    with SAMPLE.open("rb") as file:
        files = {"file": (SAMPLE.name, file)}
        return besieged.http.post("/v1/datasets?duplicate=true", files=files, data={"task": "forecasting"})


def test_no_room_for_an_upload(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        store_full_at_upload(besieged)


def test_an_upload_that_fails_otherwise_is_noticed(tmp_path: Path) -> None:
    with siege(tmp_path, "full") as besieged, pytest.raises(AssertionError, match="Internal error"):
        store_full_at_upload(besieged)


def worker_full(besieged: Siege) -> None:
    """The worker's own disk is full, where it prepares what it stores."""
    with disk(besieged.data_dir) as own:
        besieged.api()
        worker = besieged.worker()
        job_id = besieged.submit(STEADY)
        besieged.until_checkpoint(job_id)
        own.fill()
        job = besieged.wait(job_id, Status.FAILED)
        assert warned(besieged, job_id, "the worker's disk is full")
        assert job.error_code == "no_space"
        assert job.error_message == "The worker's disk is full"
        refused = upload(besieged)
        assert refused.status_code == 507, refused.text
        own.free()
        assert upload(besieged).status_code == 201
        besieged.wait(besieged.submit(QUICK))
        assert worker.alive
        until(lambda: not list((besieged.data_dir / "incoming").iterdir()), 10, "the end of all uploads")
        check(besieged)


def test_no_room_at_the_worker(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        worker_full(besieged)
