"""The memory that reading children share: never more than the total, and nobody waits for ever."""

import threading

import pytest

from app.errors import Unavailable
from app.ingest.memory_budget import CHILD_BYTES, FIRST_TRIAL_BYTES, SMALL_FILE_BYTES, MemoryBudget
from app.memory import usable_memory
from tests.support.fixtures.servers import until


def test_children_together_never_have_more_than_the_total() -> None:
    budget, most = MemoryBudget(10), 0
    taken, lock = [0], threading.Lock()

    def read(amount: int) -> None:
        nonlocal most
        with budget.reserve(amount, 60):
            with lock:
                taken[0] += amount
                most = max(most, taken[0])
            with lock:
                taken[0] -= amount

    threads = [threading.Thread(target=read, args=(1 + number % 10,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < most <= 10
    with budget.reserve(10, 1):
        pass


def test_a_small_file_is_read_beside_a_large_one_and_another_large_one_waits() -> None:
    budget, begun = MemoryBudget(10), threading.Event()

    def read() -> None:
        with budget.reserve(7, 60):
            begun.set()

    with budget.reserve(7, 1):
        thread = threading.Thread(target=read)
        thread.start()
        with budget.reserve(3, 1):
            assert not begun.is_set()
        with pytest.raises(Unavailable, match="try again"), budget.reserve(4, 0.0):
            pass
    until(begun.is_set, what="the second large one")
    thread.join()


def test_a_small_file_is_tried_with_little_memory_first() -> None:
    assert MemoryBudget(1 << 40).trials(SMALL_FILE_BYTES) == [FIRST_TRIAL_BYTES, CHILD_BYTES]
    assert MemoryBudget(1 << 40).trials(SMALL_FILE_BYTES + 1) == [CHILD_BYTES]
    assert MemoryBudget(1 << 30).trials(1) == [1 << 30]
    assert MemoryBudget().trials(1 << 40) == [min(CHILD_BYTES, usable_memory() // 2)]
