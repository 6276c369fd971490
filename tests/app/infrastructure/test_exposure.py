"""A service without keys listens on loopback addresses only."""

import socket
import subprocess
import sys
from collections.abc import Sequence

import pytest

from app.infrastructure.processes.exposure import Exposed, check_exposure


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.7", "::1", "localhost", ""])
def test_loopback_addresses_need_no_keys(host: str) -> None:
    check_exposure(host, needs_keys=False, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "::ffff:10.0.0.1"])  # noqa: S104 - refused
def test_others_need_keys_or_a_word(host: str) -> None:
    with pytest.raises(Exposed, match="RECURRA_AUTH=keys"):
        check_exposure(host, needs_keys=False, insecure=False)
    check_exposure(host, needs_keys=True, insecure=False)
    check_exposure(host, needs_keys=False, insecure=True)


def run(*arguments: str, pass_fds: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        pass_fds=pass_fds,
    )


@pytest.mark.parametrize("command", ["api", "up"])
def test_the_service_does_not_start_where_others_reach_it(command: str) -> None:
    done = run("app.cli", command, "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - refused
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "RECURRA_AUTH=keys" in line
    assert "--insecure" in line


def test_nor_with_a_socket_that_it_inherits() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104 - refused
        descriptor = listener.fileno()
        done = run("app.server", "--fd", str(descriptor), pass_fds=[descriptor])
    assert done.returncode == 1
    assert "RECURRA_AUTH=keys" in done.stderr
