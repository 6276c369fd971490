"""The store held against the rows: what is missing, damaged, or nobody's."""

from hashlib import sha256
from pathlib import Path

import pytest

from app.database.engine import Sessions
from app.identifiers import new_id
from app.infrastructure.checkpoint_name import name
from app.infrastructure.storage import Storage
from app.services.maintenance import storage_checks
from app.services.maintenance.database_checks import Checkup, Finding, State, run
from app.states import Status
from tests.app.services.jobs.test_leases import claimed
from tests.app.services.maintenance.test_cleanup import Yard, aged, succeed
from tests.networks import lstm, store


class Archive(Yard):
    """A yard with versions and checkpoints that are whole."""

    def __init__(self, sessions: Sessions, storage: Storage, directory: Path) -> None:
        super().__init__(sessions, storage, directory)
        self.checkups: dict[str, Checkup] = {
            one.name: one for one in storage_checks.of_store(sessions, storage, self.data_dir)
        }
        self.made = store(directory / "made", lstm(), state={})

    def look(self, checkup: str, *, repair: bool = False) -> Finding:
        return run(self.checkups[checkup], repair=repair)

    def version(self) -> str:
        """The artifact of a version whose files are all there."""
        lease = claimed(self.sessions, self.job())
        artifact = f"artifacts/{lease.job_id}/1"
        for path in self.made.iterdir():
            self.storage.put(f"{artifact}/{path.name}", path)
        succeed(self.sessions, lease)
        return artifact

    def checkpoint(self, job_id: str, step: int, content: bytes = b"weights", *, whole: bool = True) -> str:
        """A checkpoint, which may not be what its name says."""
        self.source.write_bytes(content if whole else content[:-1])
        called = name(step, sha256(content).hexdigest())
        return self.put(f"checkpoints/{job_id}/000001/{called}", 0)


@pytest.fixture
def archive(sessions: Sessions, storage: Storage, tmp_path: Path) -> Archive:
    return Archive(sessions, storage, tmp_path)


def test_a_healthy_store_has_no_faults(archive: Archive) -> None:
    archive.version()
    archive.checkpoint(archive.job(Status.RUNNING, attempt=1), 5)
    archive.put(f"datasets/{archive.dataset()}/content")
    found = [archive.look(checkup) for checkup in archive.checkups]
    assert [(one.state, one.faults) for one in found] == [(State.OK, [])] * 4
    assert storage_checks.unwritable(archive.storage) == []
    assert archive.storage.keys("probes") == []


def test_versions_with_missing_or_damaged_files_are_told_and_never_touched(archive: Archive) -> None:
    whole, bare, robbed, bent, garbled = (archive.version() for _ in range(5))
    archive.storage.delete(bare)
    archive.storage.delete_file(f"{robbed}/model.onnx")
    (archive.root / bent / "model.onnx").write_bytes(b"bent")
    (archive.root / garbled / "manifest.json").write_bytes(b'["files"]')
    before = archive.keys()
    for repair in (False, True):
        found = archive.look("versions", repair=repair)
        assert found.state is State.PROBLEM
        assert found.faults == [
            "m/2: manifest.json is missing",
            "m/3: model.onnx is missing",
            "m/4: model.onnx does not match its sha256",
            "m/5: manifest.json is not a manifest",
        ]
    assert archive.keys() == before
    assert f"{whole}/model.onnx" in before


def test_a_damaged_checkpoint_goes_where_a_whole_one_is_left(archive: Archive) -> None:
    job_id = archive.job(Status.QUEUED, attempt=1)
    whole = archive.checkpoint(job_id, 5)
    bad = [archive.checkpoint(job_id, 9, whole=False)]
    bad.append(archive.put(f"checkpoints/{job_id}/000001/notes.txt", 0))
    ended = archive.checkpoint(archive.job(Status.FAILED), 9, whole=False)  # nobody goes on from it
    found = archive.look("checkpoints")
    assert (found.state, set(found.faults)) == (State.PROBLEM, set(bad))
    assert archive.look("checkpoints", repair=True).state is State.REPAIRED
    assert archive.look("checkpoints", repair=True).state is State.OK
    assert set(archive.keys()) == {whole, ended}


def test_the_last_checkpoint_is_kept_though_it_is_damaged(archive: Archive) -> None:
    lost, saved = (archive.job(Status.PAUSED, attempt=1) for _ in range(2))
    bad = archive.checkpoint(lost, 5, whole=False)
    archive.checkpoint(saved, 9, whole=False)
    whole = archive.checkpoint(saved, 7)
    for _ in range(2):
        found = archive.look("checkpoints", repair=True)
        assert (found.state, found.faults) == (State.PROBLEM, [bad])
        assert set(archive.keys()) == {bad, whole}


def test_orphans_and_leftovers_are_found_left_alone_and_removed(archive: Archive) -> None:
    archive.version()
    before = archive.keys()
    orphan = f"datasets/{new_id('ds')}"
    archive.put(f"{orphan}/content")
    left = archive.directory("incoming/tmp1")
    half = archive.root / f"{before[0]}#1"
    half.write_bytes(b"half")
    aged(half, 2 * 86400)
    for checkup, faults in (("orphans", [f"{orphan} (5 bytes)"]), ("leftovers", [str(left), str(half)])):
        for repair, state in ((False, State.PROBLEM), (True, State.REPAIRED)):
            found = archive.look(checkup, repair=repair)
            assert (found.state, found.faults) == (state, faults)
        assert archive.look(checkup).state is State.OK
    assert archive.keys() == before
    assert not left.exists()
    assert not half.exists()


def test_a_store_of_another_database_is_a_problem_and_loses_nothing(archive: Archive) -> None:
    archive.put(f"datasets/{new_id('ds')}/content")
    found = archive.look("orphans", repair=True)
    assert found.state is State.PROBLEM
    assert "is this the store's database" in found.detail
    assert len(archive.keys()) == 1
