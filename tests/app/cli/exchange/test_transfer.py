"""A version goes out of one installation and into another: the same files, checked, under a model."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.cli.exchange.version_directory import VERSION_FILE, BadVersion, check, copy_files, unpack
from app.database.engine import make_engine, make_sessions
from app.infrastructure.artifacts import digest_files, digest_stored
from app.services.jobs import leases
from app.services.models import versions
from app.services.models.versions import TrainingOutcome
from tests.app.cli.exchange.test_mlflow_model import artifact, untrained
from tests.support.fixtures.service import Service


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def published(service: Service, directory: Path) -> int:
    """A version of `demand` whose files are those of a network."""
    directory = untrained(directory, "forecasting")
    lease = service.claim(service.job())
    prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
    for path in sorted(directory.iterdir()):
        service.state.storage.put(f"{prefix}/{path.name}", path)
    size = sum(path.stat().st_size for path in directory.iterdir())
    sha256 = digest_stored(service.state.storage, prefix)
    outcome = TrainingOutcome(prefix, 12, size, sha256, {"smape": 9.0}, {"smape": 12.0})
    with service.state.sessions.begin() as session:
        number = leases.succeed(session, lease, outcome)
    assert number is not None
    return number


@pytest.fixture
def exported(on_sqlite: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECURRA_URL", str(on_sqlite.http.base_url))
    published(on_sqlite, tmp_path / "made")
    done = run("models", "export", "demand", 1, tmp_path / "exported")
    assert done.exit_code == 0, done.output
    return tmp_path / "exported"


@pytest.fixture
def elsewhere(tmp_path: Path, sqlite_template: Path) -> Path:
    """The data directory of another installation."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    (directory / "recurra.db").write_bytes(sqlite_template.read_bytes())
    return directory


def test_a_version_is_imported_as_the_next_one_of_a_model(exported: Path, elsewhere: Path) -> None:
    for number in (1, 2):
        done = run("models", "import", exported, "--model", "sales", "--data-dir", elsewhere, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout) == {"model": "sales", "version": number, "project": "default"}
    engine = make_engine(f"sqlite:///{elsewhere / 'recurra.db'}")
    with make_sessions(engine)() as session:
        row = versions.get_version(session, "sales", 2)
        assert [alias.version for alias in versions.list_aliases(session, "sales")] == [1]
    engine.dispose()
    assert (row.task, row.metrics, row.baseline) == ("forecasting", {"smape": 9.0}, {"smape": 12.0})
    stored = elsewhere / "storage" / row.artifact
    assert digest_files(stored.iterdir()) == row.sha256 == check(exported).sha256


def test_the_directory_of_mlflow_is_imported_too(exported: Path, elsewhere: Path, tmp_path: Path) -> None:
    del exported
    assert run("models", "export", "demand", 1, tmp_path / "mlflow", "--mlflow").exit_code == 0
    assert (tmp_path / "mlflow" / "MLmodel").is_file()
    done = run("models", "import", tmp_path / "mlflow", "--model", "sales", "--data-dir", elsewhere)
    assert done.exit_code == 0, done.output


def test_a_model_of_another_task_takes_no_version(exported: Path, elsewhere: Path, tmp_path: Path) -> None:
    run("models", "import", exported, "--model", "sales", "--data-dir", elsewhere)
    other = artifact(tmp_path / "tagging", "tagging")
    done = run("models", "import", other, "--model", "sales", "--data-dir", elsewhere)
    assert done.exit_code == 1
    assert "of the task forecasting" in done.stderr


def test_a_directory_that_is_not_empty_is_not_written_to(exported: Path) -> None:
    assert run("models", "export", "demand", 1, exported).exit_code == 2


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refer(path: Path) -> None:
    model = onnx.load_model_from_string(path.read_bytes())
    tensor = model.graph.initializer.add(name="w", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    described = path.parent / "manifest.json"
    manifest = json.loads(described.read_text())
    manifest["files"][path.name]["sha256"] = digest_files([path])
    described.write_text(json.dumps(manifest))
    files = [file for file in path.parent.iterdir() if file.name != VERSION_FILE]
    size = sum(file.stat().st_size for file in files)
    rewrite(path.parent / VERSION_FILE, sha256=digest_files(files), bytes=size)


def link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "sha256": lambda at: flip(at / "model.safetensors"),
    "refers to another file": lambda at: refer(at / "model.onnx"),
    "not a plain file": lambda at: link(at / "model.onnx"),
    "that no version has": lambda at: (at / "weights.pkl").write_bytes(b"x"),
    "is missing": lambda at: (at / "manifest.json").unlink(),
    "manifest lists": lambda at: (at / "model.onnx").unlink(),
    "unknown field": lambda at: rewrite(at / VERSION_FILE, extra=1),
    "its task": lambda at: rewrite(at / VERSION_FILE, task="../forecasting"),
    "another size": lambda at: rewrite(at / VERSION_FILE, bytes=3),
    "that its training stored": lambda at: rewrite(at / VERSION_FILE, sha256="0" * 64),
    "manifest.json": lambda at: (at / "manifest.json").write_text("[" * 100_000),
}


def check_copy(directory: Path, target: Path) -> None:
    copy_files(directory, target)
    check(target)


@pytest.mark.parametrize("reason", DAMAGES)
def test_what_is_no_version_is_refused(reason: str, tmp_path: Path) -> None:
    directory = artifact(tmp_path / "made", "forecasting")
    check(directory)
    DAMAGES[reason](directory)
    with pytest.raises(BadVersion, match=reason):
        check_copy(directory, tmp_path / "copied")


def packed(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return path


@pytest.mark.parametrize("names", [["../manifest.json"], ["/manifest.json"], ["a/manifest.json"], ["x.pkl"]])
def test_an_archive_with_other_names_is_not_unpacked(names: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BadVersion, match="other files"):
        unpack(packed(tmp_path / "a.zip", *names), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "b.zip").write_bytes(b"no zip")
    with pytest.raises(BadVersion, match="no zip"):
        unpack(tmp_path / "b.zip", tmp_path / "out")
