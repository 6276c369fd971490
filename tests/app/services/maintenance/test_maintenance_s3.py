"""Backup, restore, cleanup and doctor's checks on a real S3 server."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete

from app.database.tables import Dataset
from app.errors import NotFound
from app.identifiers import new_id
from app.infrastructure.storage import Storage
from app.services.maintenance import cleanup, ownership, restore, storage_checks
from app.services.maintenance.backup import TargetNotEmpty, back_up
from tests.app.services.maintenance.test_backup import Installed, make_target
from tests.support.fixtures.s3 import S3Server

__all__ = ["make_target"]  # a fixture
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def installed(engine: Engine, s3_storage: Storage, tmp_path: Path) -> Installed:
    made = Installed(engine, s3_storage, tmp_path)
    made.add_dataset()
    made.add_version()
    made.add_running_job()
    assert cleanup.renew_mark(made.sessions, s3_storage) is ownership.Owner.THIS
    return made


def test_from_a_bucket_to_a_directory_and_to_another_bucket(
    installed: Installed, make_target: Callable[[], Installed], s3: S3Server, tmp_path: Path
) -> None:
    assert back_up(installed.engine, installed.storage, tmp_path / "backup").problems == []
    in_directory, in_bucket = make_target(), make_target()
    in_bucket.storage = Storage(s3.new_store())
    for target in (in_directory, in_bucket):
        restore.restore(target.engine, target.storage, tmp_path / "backup")
        assert target.files() == installed.files()
        assert storage_checks.damaged_versions(target.sessions, target.storage) == []
        with target.sessions() as session:
            assert ownership.owner_of(session, target.storage) is ownership.Owner.THIS
        with pytest.raises(NotFound):
            target.storage.read(restore.MARKER_KEY)
    assert back_up(in_directory.engine, in_directory.storage, tmp_path / "again").problems == []
    with pytest.raises(TargetNotEmpty):
        restore.restore(make_target().engine, in_bucket.storage, tmp_path / "again")


def test_cleanups_delete_what_no_row_needs_and_nothing_else(installed: Installed) -> None:
    orphan = f"datasets/{new_id('ds')}/content"
    installed.put(orphan, b"an upload that was cut off")
    needed = {key for key in installed.files() if key != orphan}
    with installed.sessions() as session:
        assert cleanup.find_orphans(session, installed.storage) == []  # it may yet get its row
    installed.clean_up()
    assert set(installed.files()) == needed
    with installed.sessions.begin() as session:
        session.execute(delete(Dataset))
    installed.clean_up()
    assert {key for key in needed if not key.startswith("datasets/")} == set(installed.files())


def test_a_foreign_bucket_is_left_alone(installed: Installed, make_target: Callable[[], Installed]) -> None:
    other = make_target()
    cleanup.renew_mark(installed.sessions, other.storage)
    files = installed.files()
    installed.storage.write(ownership.MARK_KEY, b'{"installation": "ins_another", "number": 7}')
    with installed.sessions.begin() as session:
        session.execute(delete(Dataset))
    with pytest.raises(ownership.WrongDatabase):
        installed.clean_up()
    assert installed.files() == files


def test_damage_is_found(installed: Installed) -> None:
    (graph,) = (key for key in installed.files() if key.endswith("model.onnx"))
    (checkpoint,) = (key for key in installed.files() if key.startswith("checkpoints/"))
    installed.put(graph, b"altered")
    installed.put(checkpoint, b"altered")
    assert storage_checks.check_writable(installed.storage) == []
    assert storage_checks.damaged_versions(installed.sessions, installed.storage) == [
        "m/1: model.onnx does not match its sha256"
    ]
    assert storage_checks.damaged_checkpoints(installed.sessions, installed.storage) == [checkpoint]
