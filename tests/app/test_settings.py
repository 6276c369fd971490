"""Settings come from the environment, some defaults from what the machine lets a process use."""

from dataclasses import asdict
from pathlib import Path

import pytest
from pydantic import ValidationError

import app.settings
from app.ingest.limits import ArchiveLimits
from app.media.limits import MediaLimits
from app.settings import Settings, usable_cores


def test_everything_is_below_the_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "STORAGE_URL"):
        monkeypatch.delenv(f"RECURRA_{name}", raising=False)
    settings = Settings(data_dir=tmp_path)
    assert settings.database == f"sqlite:///{tmp_path}/recurra.db"
    assert settings.storage == f"file://{tmp_path}/storage"
    assert settings.redis.startswith("unix://")


def test_a_deep_data_directory_still_has_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    assert len(Settings(data_dir=deep, redis_url="").redis.removeprefix("unix://")) < 104


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECURRA_DATABASE_URL", "postgresql://h/db")
    monkeypatch.setenv("RECURRA_MAX_UPLOAD_BYTES", "1000")
    settings = Settings()
    assert (settings.database, settings.max_upload_bytes) == ("postgresql://h/db", 1000)
    monkeypatch.setenv("RECURRA_MAX_UPLOAD_BYTES", "-1")
    with pytest.raises(ValidationError):
        Settings()


def test_every_limit_is_a_setting_with_the_same_default() -> None:
    settings = Settings()
    assert settings.limits("media") == asdict(MediaLimits())
    assert settings.limits("archive") == asdict(ArchiveLimits())


def test_limits_are_read_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECURRA_MEDIA_AUDIO_SECONDS", "20.5")
    monkeypatch.setenv("RECURRA_ARCHIVE_MEMBERS", "7")
    assert MediaLimits(**Settings().limits("media")) == MediaLimits(audio_seconds=20.5)
    assert ArchiveLimits(**Settings().limits("archive")) == ArchiveLimits(members=7)
    for name, value in (
        ("MEDIA_SECONDS", "0"),
        ("MEDIA_SECONDS", "inf"),
        ("MEDIA_MEMORY_BYTES", "1000000"),
        ("MEDIA_AUDIO_SECONDS", "nan"),
        ("MEDIA_FRAME_PIXELS", str(1 << 31)),
        ("MEDIA_FRAMES", "0"),
        ("MEDIA_MIDI_EVENTS", "-1"),
        ("MEDIA_FILE_BYTES", "0"),
        ("ARCHIVE_RATIO", "0"),
        ("ARCHIVE_RATIO_FREE_BYTES", "-1"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(f"RECURRA_{name}", value)
            with pytest.raises(ValidationError):
                Settings()


def test_hosts_are_names_with_commas_between() -> None:
    assert Settings(allowed_hosts="").host_names == ()
    assert Settings(allowed_hosts="api, *.example.com,").host_names == ("api", "*.example.com")
    assert Settings(allowed_hosts="*").host_names == ("*",)


@pytest.mark.parametrize("name", ["http://api", "api:8000", "a b", "*example.com", "a/b", ".example.com"])
def test_what_is_no_name_of_a_host_ends_the_start(name: str) -> None:
    with pytest.raises(ValidationError, match="host name"):
        Settings(allowed_hosts=name)


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a machine with eight cores that limits nothing yet."""
    for name, file in (("CPU_MAX", "cpu.max"), ("CFS_QUOTA", "quota"), ("CFS_PERIOD", "period")):
        monkeypatch.setattr(app.settings, name, tmp_path / file)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000\n", 8), ("200000 100000\n", 2), ("250000 100000\n", 2), ("50000 100000\n", 1),
     ("1600000 100000\n", 8), ("unreadable", 8)],
)  # fmt: skip
def test_a_limit_of_a_container(groups: Path, limit: str, cores: int) -> None:
    (groups / "cpu.max").write_text(limit)
    assert usable_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1\n", 8), ("300000\n", 3)])
def test_a_limit_of_an_older_kernel(groups: Path, quota: str, cores: int) -> None:
    (groups / "quota").write_text(quota)
    (groups / "period").write_text("100000\n")
    assert usable_cores() == cores


def test_without_a_limit_there_are_all(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() == 8
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert usable_cores() == 4
