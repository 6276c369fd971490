"""A process that has imported what a child needs, and forks one child after another.

Nearly all of a short training is imports: torch, what an optimizer imports at its first step, scikit-learn
take 4 of 4.4 CPU seconds. A child that is forked finds them there. The server ends with the worker, and when
it has been idle for a while, so that a worker without jobs holds no memory.

Never for a child that uses a GPU: a CUDA context does not survive a fork.
"""

import gc
import importlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, NoReturn

from app.infrastructure import logs
from app.infrastructure.processes.managed import computing_environment, die_with_parent
from workers.process.launch import CHILD_ENVIRONMENT

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0  # without a child, after which the server ends
ANSWER_SECONDS = 120.0  # for the imports and a fork, on however slow a machine
LAUNCH_POLL_SECONDS = 0.1  # between two looks at whether a launch is still wanted
MAX_PIPES = 3  # to a child's stdin, and from its stdout and stderr
NUMBER_BYTES = 4  # of a message: a process id, or an exit status


@dataclass(frozen=True)
class _Server:
    """A server that runs, and the worker's end of its socket."""

    process: subprocess.Popen[bytes]
    connection: socket.socket


class LaunchStopped(Exception):
    """Nobody wants the child any more that a server was about to fork."""


class ForkServer:
    """The worker's side: launches children of one program, `module`'s `main`, one at a time.

    The server imports further modules: those `before` the first fork, which every child needs at once, and
    those that not all need, or late, `beside` the first child.
    """

    def __init__(
        self,
        module: str,
        before: Sequence[str] = (),
        beside: Sequence[str] = (),
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._arguments = (str(idle_seconds), module, *(",".join(names) for names in (before, beside)))
        self._server: _Server | None = None
        self._child: int | None = None  # its process id, until the server says that it ended

    def launch(
        self, should_stop: Callable[[], bool] = lambda: False, *, logged: bool = False
    ) -> "ForkedProcess":
        """Return a new child, if it is `logged` with a pipe from its stderr; raises `OSError`.

        Raises `LaunchStopped` if `should_stop` says so while a new server imports what it needs.
        """
        if self._child is not None:
            self.stop()
        child_stdin, stdin = os.pipe()
        pipes = [os.pipe() for _ in range(2 if logged else 1)]  # from stdout and stderr
        outputs, child_ends = [own for own, _ in pipes], [child_stdin, *(end for _, end in pipes)]
        try:
            pid, parent_pid = self._fork(child_ends, should_stop)
        except (OSError, LaunchStopped):
            for descriptor in (stdin, *outputs):
                os.close(descriptor)
            raise
        finally:
            for descriptor in child_ends:
                os.close(descriptor)
        return ForkedProcess(self, pid, parent_pid, stdin, *outputs)

    def wait_for_exit(self, pid: int, seconds: float | None) -> bool:
        """Return whether the child ended within `seconds`; a child whose server is gone has ended with it."""
        if self._server is None or pid != self._child:
            return True
        self._server.connection.settimeout(seconds)
        try:
            answer = self._server.connection.recv(NUMBER_BYTES)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            answer = b""
        if not answer:
            self.stop()
        self._child = None
        return True

    def stop(self) -> None:
        """End the server, and with it the child; the next launch starts another."""
        if self._server is not None:
            self._server.connection.close()
            self._server.process.kill()
            self._server.process.wait()
        self._server = self._child = None

    def _fork(self, pipes: Sequence[int], should_stop: Callable[[], bool]) -> tuple[int, int]:
        """Return the ids of a new child and of its server, which is started if there is none."""
        for _ in range(2):
            server = self._server = self._server or self._start()
            with suppress(OSError):
                socket.send_fds(server.connection, [b"\n"], pipes)
                if len(answer := self._answer(server, should_stop)) == NUMBER_BYTES:
                    self._child = int.from_bytes(answer)
                    return self._child, server.process.pid
            self.stop()
        raise ChildProcessError("The fork server does not start")

    def _answer(self, server: _Server, should_stop: Callable[[], bool]) -> bytes:
        """Return what the server sends; nothing when it has ended or takes too long."""
        server.connection.settimeout(LAUNCH_POLL_SECONDS)
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            with suppress(TimeoutError):
                return server.connection.recv(NUMBER_BYTES)
            if should_stop():
                self.stop()
                raise LaunchStopped
        return b""

    def _start(self) -> _Server:
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid()))
            process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                (*command, *self._arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
                env=computing_environment() | CHILD_ENVIRONMENT,
            )
        # A server that ends because it is idle is no zombie until the next training.
        threading.Thread(target=process.wait, name="fork-server-end", daemon=True).start()
        return _Server(process, ours)


class ForkedProcess:
    """A child of a fork server; a `LaunchedProcess`."""

    def __init__(
        self,
        server: ForkServer,
        pid: int,
        parent_pid: int,
        stdin: int,
        stdout: int,
        stderr: int | None = None,
    ) -> None:
        self.pid, self.parent_pid = pid, parent_pid
        self.stdin: IO[str] = os.fdopen(stdin, "w")
        self.stdout: IO[str] = os.fdopen(stdout)
        self.stderr: IO[str] | None = None if stderr is None else os.fdopen(stderr, errors="replace")
        self._server = server

    def request_stop(self) -> None:
        """See `LaunchedProcess`."""
        if not self.wait(0):  # its number may be another's once the server has waited for it
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float | None = None) -> bool:
        """See `LaunchedProcess`."""
        return self._server.wait_for_exit(self.pid, seconds)


def serve(
    connection: socket.socket, program: Callable[[], None], beside: Sequence[str], idle_seconds: float
) -> None:
    """Fork a child that runs `program` for each request, until the worker is gone or the server is idle."""
    importing = threading.Thread(target=import_all, args=(beside,), name="imports", daemon=True)
    while select.select([connection], [], [], idle_seconds)[0]:
        request, pipes, _, _ = socket.recv_fds(connection, 1, MAX_PIPES)
        if not request:
            return
        if importing.ident is not None:  # only the first child is forked before
            importing.join()
        gc.freeze()  # the garbage collector of a child would write to, and so copy, all that is shared
        pid = os.fork()
        if pid == 0:
            connection.close()
            _run_child(program, *pipes)
        for pipe in pipes:
            os.close(pipe)
        connection.sendall(pid.to_bytes(NUMBER_BYTES))
        if importing.ident is None:
            importing.start()
        _, status = os.waitpid(pid, 0)
        connection.sendall(status.to_bytes(NUMBER_BYTES))


def _run_child(program: Callable[[], None], *pipes: int) -> NoReturn:
    """Be the child: a session of its own, the pipes as its streams, and no way back into the server."""
    exit_status = 1
    try:
        os.setsid()
        for stream, pipe in enumerate(pipes):
            os.dup2(pipe, stream)
            os.close(pipe)
        program()
        exit_status = 0
    except BaseException:
        log.exception("the child failed")
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exit_status)


def main() -> None:
    """Serve on the inherited socket; arguments: its descriptor, the worker's id, seconds, modules."""
    descriptor, parent, idle_seconds, module, before, beside = sys.argv[1:]
    logs.configure_process()
    die_with_parent(int(parent), signal.SIGKILL)
    connection = socket.socket(fileno=int(descriptor))
    program = importlib.import_module(module).main
    import_all(_names(before))
    serve(connection, program, _names(beside), float(idle_seconds))


def import_all(names: Sequence[str]) -> None:
    """Import modules."""
    for name in names:
        importlib.import_module(name)


def _names(joined: str) -> list[str]:
    return [name for name in joined.split(",") if name]


if __name__ == "__main__":
    main()
