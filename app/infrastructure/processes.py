"""Child processes that never outlive their parent, with a log each and a bounded stop."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
TAIL_BYTES = 64 << 10


def die_with_parent(parent: int, signum: int = signal.SIGTERM) -> None:
    """Have the kernel send this process `signum` when `parent` ends, however that ends; nothing on macOS.

    The setting survives exec. It follows the thread that forked, so fork from one that lives on (prctl(2)).
    """
    if LIBC is None:
        return
    if LIBC.prctl(PR_SET_PDEATHSIG, signum) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended between the fork and the prctl
        os.kill(os.getpid(), signum)


def tied_to(parent: int, signum: int = signal.SIGTERM) -> Callable[[], None]:
    """A `preexec_fn` for subprocess; libc is already loaded, so nothing is imported after the fork."""
    return lambda: die_with_parent(parent, signum)


def alive(pid: int) -> bool:
    """Whether there is a process of this number; 0 is nobody's."""
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
    """Signal the process group that `pid` leads; one that is gone is no error."""
    try:
        os.killpg(pid, signum)
    except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        return


@dataclass
class Child:
    """A command run in its own session, so that Ctrl-C reaches only the parent, which decides the order."""

    name: str
    command: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)  # over this process's own
    keep: Sequence[int] = ()  # file descriptors it inherits
    _process: subprocess.Popen[bytes] | None = None
    _written: int = 0  # bytes in the log when it was last started
    started: float = 0.0  # time.monotonic()

    def start(self) -> None:
        """Run the command; its output is appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._written = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own command lines, no shell
                [str(part) for part in self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
                pass_fds=tuple(self.keep),
                preexec_fn=tied_to(os.getpid()),  # noqa: PLW1509 - prctl only, from the main thread
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """The process's number, once started."""
        return self._process.pid if self._process else None

    def ended(self) -> int | None:
        """Its exit status (negative: the signal), or None while it runs."""
        return self._process.poll() if self._process else 0

    def tail(self, lines: int = 20) -> str:
        """The last lines it has written since its last start."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._written, self.log.stat().st_size - TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def ask(self) -> None:
        """Ask it to stop (SIGTERM)."""
        if self._process and self.ended() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and whatever it left behind in its session, and reap it."""
        if self._process:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def rotate(log: Path, keep: int = 3) -> None:
    """Move `x.log` to `x.log.1`, `x.log.1` to `x.log.2` and so on; the oldest is dropped."""
    for number in range(keep - 1, -1, -1):
        older = log.with_name(f"{log.name}.{number}") if number else log
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
