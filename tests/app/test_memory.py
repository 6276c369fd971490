"""Memory: what there is, what a process takes, and its bounds."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from app import memory

LIMITED = """
import sys
from app import memory
memory.become_expendable()
memory.limit_growth(64 << 20)
print(open("/proc/self/oom_score_adj").read().strip())
small = bytearray(16 << 20)
try:
    bytearray(128 << 20)
except MemoryError:
    print("refused")
"""


SETTLED = """
import gc
from app import memory
kept = [[] for _ in range(100_000)]
before = len(gc.get_objects())
memory.freeze_startup_objects()
print(before > 100_000, len(gc.get_objects()) < 1_000)
made = [[] for _ in range(10)]
made[0].append(made)
del made, kept
print(gc.collect() > 0)
"""


def test_what_a_start_up_made_is_not_looked_at_again_when_garbage_is_collected() -> None:
    done = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3


def test_a_container_may_take_less_than_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CGROUP_LIMITS", ())
    total = memory.usable_memory()
    assert total > 64 << 20
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (limit, tmp_path / "missing"))
    for text, usable in (("max\n", total), ("1048576\n", 1 << 20), (f"{1 << 60}\n", total)):
        limit.write_text(text)
        assert memory.usable_memory() == usable


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_memory_of_a_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = memory.private_bytes(os.getpid())
    taken = bytearray(b"x" * (32 << 20))
    assert memory.private_bytes(os.getpid()) - before >= len(taken) // 2
    assert memory.private_bytes(0) == 0
    assert memory.count_oom_kills() >= 0
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert memory.count_oom_kills() == memory.private_bytes(1) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits")
def test_a_process_cannot_take_more_than_it_may() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [memory.EXPENDABLE, "refused"]


FRAGMENTED = """
import gc, os
from app import memory
kept = [bytearray(1000) for _ in range(200_000)]
pins, kept = kept[::1000], None
gc.collect()
before = memory.private_bytes(os.getpid())
memory.return_free_memory()
print((before - memory.private_bytes(os.getpid())) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such call")
def test_memory_that_was_freed_between_what_is_kept_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100  # MiB, of some 200
