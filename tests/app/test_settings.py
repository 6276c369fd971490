"""Settings come from the environment and nowhere else."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


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
