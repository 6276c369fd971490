"""Ids: opaque, alike, never the same, and in the order of time."""

import re
import secrets
import time
from collections.abc import Iterator

import pytest

from app.identifiers import ALPHABET, new_id


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1_700_000_000.0]
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now[0])
        yield now


def test_an_id_has_a_prefix_and_a_fixed_form() -> None:
    for prefix in ("ds", "job", "worker"):
        assert re.fullmatch(rf"{prefix}_[{ALPHABET}]{{26}}", new_id(prefix))


def test_the_alphabet_sorts_as_it_counts_and_has_no_look_alikes() -> None:
    assert list(ALPHABET) == sorted(set(ALPHABET))
    assert len(ALPHABET) == 32
    assert not set("ilou") & set(ALPHABET)


def test_no_two_are_the_same_even_at_one_instant(clock: list[float]) -> None:
    assert len({new_id("x") for _ in range(20_000)}) == 20_000


def test_later_ids_sort_later(clock: list[float]) -> None:
    made = []
    for _ in range(500):
        made.append(new_id("x"))
        clock[0] += 0.002
    assert made == sorted(made)


@pytest.mark.parametrize("step", [1.0, 3600.0, 86_400.0 * 365, 86_400.0 * 365 * 1000])
def test_they_sort_over_any_span(clock: list[float], step: float) -> None:
    before = new_id("x")
    clock[0] += step
    assert before < new_id("x")


def test_the_random_part_is_secret_and_not_the_clocks(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "randbits", lambda bits: (1 << bits) - 1)
    last = new_id("x")
    assert last.endswith("z" * 16)  # 80 bits
    monkeypatch.setattr(secrets, "randbits", lambda bits: 0)
    assert new_id("x") == last[:-16] + "0" * 16
