"""The checks of the store against the rows: files that are missing, damaged, or orphans."""

from hashlib import sha256
from pathlib import Path

import pytest

from app.database.engine import Sessions
from app.identifiers import new_id
from app.infrastructure.artifacts import digest_stored
from app.infrastructure.checkpoint_name import checkpoint_name
from app.infrastructure.storage import Storage
from app.services.maintenance import storage_checks
from app.services.maintenance.database_checks import Check, CheckResult, CheckState, run
from app.services.maintenance.ownership import MARK_KEY
from app.states import Status
from tests.app.services.jobs.test_leases import claimed
from tests.app.services.maintenance.test_cleanup import Rig, aged, succeed
from tests.support.factories.networks import lstm, store


class Archive(Rig):
    """A rig with undamaged versions and checkpoints."""

    def __init__(self, sessions: Sessions, storage: Storage, directory: Path) -> None:
        super().__init__(sessions, storage, directory)
        self.checks: dict[str, Check] = {
            one.name: one for one in storage_checks.store_checks(sessions, storage, self.data_dir)
        }
        self.made = store(directory / "made", lstm(), state={})

    def check(self, name: str, *, repair: bool = False) -> CheckResult:
        return run(self.checks[name], repair=repair)

    def version(self) -> str:
        """The artifact of a version whose files are all there."""
        lease = claimed(self.sessions, self.job())
        artifact = f"artifacts/{lease.job_id}/1"
        for path in self.made.iterdir():
            self.storage.put(f"{artifact}/{path.name}", path)
        succeed(self.sessions, lease, digest_stored(self.storage, artifact))
        return artifact

    def checkpoint(self, job_id: str, step: int, content: bytes = b"weights", *, intact: bool = True) -> str:
        """A checkpoint, which may not be what its name says."""
        self.source.write_bytes(content if intact else content[:-1])
        name = checkpoint_name(step, sha256(content).hexdigest())
        return self.put(f"checkpoints/{job_id}/000001/{name}", 0)


@pytest.fixture
def archive(sessions: Sessions, storage: Storage, tmp_path: Path) -> Archive:
    return Archive(sessions, storage, tmp_path)


def test_a_healthy_store_has_no_faults(archive: Archive) -> None:
    archive.version()
    archive.checkpoint(archive.job(Status.RUNNING, attempt=1), 5)
    archive.put(f"datasets/{archive.dataset()}/content")
    result = [archive.check(name) for name in archive.checks]
    assert [(one.state, one.faults) for one in result] == [(CheckState.OK, [])] * 6
    assert storage_checks.check_writable(archive.storage) == []
    assert archive.storage.keys("probes") == []


def test_versions_with_missing_or_damaged_files_are_reported_and_never_changed(archive: Archive) -> None:
    intact, bare, robbed, bent, garbled = (archive.version() for _ in range(5))
    archive.storage.delete(bare)
    archive.storage.delete_file(f"{robbed}/model.onnx")
    (archive.root / bent / "model.onnx").write_bytes(b"bent")
    (archive.root / garbled / "manifest.json").write_bytes(b'["files"]')
    before = archive.keys()
    for repair in (False, True):
        result = archive.check("versions", repair=repair)
        assert result.state is CheckState.PROBLEM
        assert result.faults == [
            "m/2: manifest.json is missing",
            "m/3: model.onnx is missing",
            "m/4: model.onnx does not match its sha256",
            "m/5: manifest.json is not a manifest",
        ]
    assert archive.keys() == before
    assert f"{intact}/model.onnx" in before


def test_files_that_agree_with_an_altered_manifest_are_reported(archive: Archive, tmp_path: Path) -> None:
    altered = archive.version()
    for path in store(tmp_path / "other", lstm(seed=1), state={}).iterdir():
        archive.storage.put(f"{altered}/{path.name}", path)
    result = archive.check("versions", repair=True)
    assert result.state is CheckState.PROBLEM
    assert ["m/1: its files are not those" in fault for fault in result.faults] == [True]


def test_a_damaged_checkpoint_is_deleted_where_an_undamaged_one_is_left(archive: Archive) -> None:
    job_id = archive.job(Status.QUEUED, attempt=1)
    intact = archive.checkpoint(job_id, 5)
    bad = [archive.checkpoint(job_id, 9, intact=False)]
    bad.append(archive.put(f"checkpoints/{job_id}/000001/notes.txt", 0))
    ended = archive.checkpoint(archive.job(Status.FAILED), 9, intact=False)  # nothing resumes from it
    result = archive.check("checkpoints")
    assert (result.state, set(result.faults)) == (CheckState.PROBLEM, set(bad))
    assert archive.check("checkpoints", repair=True).state is CheckState.REPAIRED
    assert archive.check("checkpoints", repair=True).state is CheckState.OK
    assert set(archive.keys()) == {intact, ended}


def test_the_last_checkpoint_is_not_deleted_though_damaged(archive: Archive) -> None:
    lost, saved = (archive.job(Status.PAUSED, attempt=1) for _ in range(2))
    bad = archive.checkpoint(lost, 5, intact=False)
    archive.checkpoint(saved, 9, intact=False)
    intact = archive.checkpoint(saved, 7)
    for _ in range(2):
        result = archive.check("checkpoints", repair=True)
        assert (result.state, result.faults) == (CheckState.PROBLEM, [bad])
        assert set(archive.keys()) == {bad, intact}


def test_orphans_and_leftovers_are_reported_then_deleted(archive: Archive) -> None:
    archive.version()
    before = archive.keys()
    orphan = f"datasets/{new_id('ds')}"
    archive.put(f"{orphan}/content")
    left = archive.directory("incoming/tmp1")
    half = archive.root / f"{before[0]}#1"
    half.write_bytes(b"half")
    aged(half, 2 * 86400)
    for name, faults in (("orphans", [f"{orphan} (5 bytes)"]), ("leftovers", [str(left), str(half)])):
        for repair, state in ((False, CheckState.PROBLEM), (True, CheckState.REPAIRED)):
            result = archive.check(name, repair=repair)
            assert (result.state, result.faults) == (state, faults)
        assert archive.check(name).state is CheckState.OK
    assert archive.keys() == before
    assert not left.exists()
    assert not half.exists()


def test_a_store_of_another_database_is_a_problem_and_loses_nothing(archive: Archive) -> None:
    archive.storage.write(MARK_KEY, b'{"installation": "ins_other", "number": 1}')
    archive.put(f"datasets/{new_id('ds')}/content")
    for name in ("orphans", "installation"):
        result = archive.check(name, repair=True)
        assert result.state is CheckState.PROBLEM
        assert "names the installation ins_other" in result.detail
    assert len(archive.keys()) == 1
