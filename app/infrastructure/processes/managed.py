"""Child processes that never outlive their parent, with a log file each and a bounded stop."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, cast

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
PRIVATE_UMASK = 0o077
TAIL_BYTES = 64 << 10
COPY_SECONDS = 2.0  # for the last lines of a process that has ended
PASSED_VARIABLES = (  # of the environment; none of them holds a secret
    "PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "TMPDIR",
)  # fmt: skip
COMPUTE_PREFIXES = (  # of variables that say how to compute, and where libraries keep their caches
    "PYTHON", "CUDA", "CUBLAS", "NVIDIA_", "NCCL_", "OMP_", "MKL_", "TORCH", "PYTORCH_", "LC_", "XDG_",
)  # fmt: skip
COMPUTE_VARIABLES = ("HOME", "USER", "LOGNAME", "TZ", "LD_PRELOAD", "RECURRA_LOG_LEVEL")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",  # each thread would reserve address space
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def confined_environment() -> dict[str, str]:
    """The environment of a child that reads a stranger's file: no secrets, one thread."""
    return {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ} | ONE_THREAD


def computing_environment() -> dict[str, str]:
    """The environment of a child that computes what a stranger asks for: no secrets, no settings."""
    named = {*PASSED_VARIABLES, *COMPUTE_VARIABLES}
    return {
        name: value
        for name, value in os.environ.items()
        if name in named or name.startswith(COMPUTE_PREFIXES)
    }


def keep_files_private() -> None:
    """Have only this user read the files that this process and its children make from now on."""
    os.umask(PRIVATE_UMASK)


def die_with_parent(parent: int, signum: int = signal.SIGTERM) -> None:
    """Have the kernel send this process `signum` when `parent` ends, however it ends; no effect on macOS.

    The setting survives exec. It follows the thread that forked, so fork from one that lives on (prctl(2)).
    """
    if LIBC is None:
        return
    if LIBC.prctl(PR_SET_PDEATHSIG, signum) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended between the fork and the prctl
        os.kill(os.getpid(), signum)


def dying_with(parent: int, signum: int = signal.SIGTERM) -> Callable[[], None]:
    """Return a `preexec_fn` that calls `die_with_parent`; nothing is imported after the fork."""
    return lambda: die_with_parent(parent, signum)


def is_alive(pid: int) -> bool:
    """Return whether a process has this id; 0 is never a process."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def signal_group(pid: int, signum: int) -> None:
    """Send a signal to the process group that `pid` leads; a group that is gone is no error."""
    try:
        os.killpg(pid, signum)
    except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        return


@dataclass
class ManagedProcess:
    """A command run in its own session, so that Ctrl-C reaches only the parent, which orders the shutdown."""

    name: str
    command: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)  # in addition to this process's own
    pass_fds: Sequence[int] = ()  # file descriptors that the process inherits
    rewrite: Callable[[str], str] | None = None  # of each line, for a program whose log is not ours
    _copier: threading.Thread | None = None  # of its lines into the log
    _process: subprocess.Popen[bytes] | None = None
    _log_offset: int = 0  # bytes in the log at the last start
    started: float = 0.0  # time.monotonic()

    def start(self) -> None:
        """Start the command; its output is appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_offset = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own command lines, no shell
                [str(part) for part in self.command],
                stdin=subprocess.DEVNULL,
                stdout=log if self.rewrite is None else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
                pass_fds=tuple(self.pass_fds),
                preexec_fn=dying_with(os.getpid()),  # noqa: PLW1509 - prctl only, from the main thread
            )
        if self.rewrite is not None:
            stream = cast("IO[bytes]", self._process.stdout)
            copy = partial(_copy_lines, stream, self.log, self.rewrite)
            self._copier = threading.Thread(target=copy, name=f"log of {self.name}", daemon=True)
            self._copier.start()
        self.started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """The process id; None before the start."""
        return self._process.pid if self._process else None

    def poll(self) -> int | None:
        """Return the exit status (negative: the signal); None while it runs, 0 before the start."""
        return self._process.poll() if self._process else 0

    def tail(self, lines: int = 20) -> str:
        """Return the last lines in the log that were written since the last start."""
        if self._copier is not None and self.poll() is not None:
            self._copier.join(COPY_SECONDS)
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_offset, self.log.stat().st_size - TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def terminate(self) -> None:
        """Send SIGTERM if it runs."""
        if self._process and self.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and every process left in its session, and reap it."""
        if self._process:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._copier is not None:
            self._copier.join(COPY_SECONDS)
            self._copier = None


def _copy_lines(stream: IO[bytes], log: Path, rewrite: Callable[[str], str]) -> None:
    """Append each line of a stream to a log, rewritten, until the stream ends."""
    with stream, log.open("ab", buffering=0) as file:
        for line in stream:
            file.write(rewrite(line.decode(errors="replace").rstrip()).encode() + b"\n")


def rotate_log(log: Path, keep: int = 3) -> None:
    """Rename `x.log` to `x.log.1`, `x.log.1` to `x.log.2` and so on; at most `keep` old ones are left."""
    for number in range(keep - 1, -1, -1):
        older = log.with_name(f"{log.name}.{number}") if number else log
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
