"""Choosing tokens by chance: as often as they are likely, and the same by the same seed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.contract import END
from workers.decoding.sampling import SUPPRESSED_TOKENS, Sampler, accept_tokens, draw_tokens, most_likely

LOGITS = np.array([0.3, -1.2, 2.0, 0.3, 1.1, -0.4, 0.0, 1.9], np.float32)
# The 99.9th percentile of chi-square by degrees of freedom.
CHI = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46, 7: 24.32}


def drawn(count: int, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Any:
    """How often each token came."""
    rows = np.tile(LOGITS, (count, 1))
    same = np.ones(count)
    chance = np.random.default_rng(0).random(count)
    tokens = draw_tokens(rows, temperature * same, (top_k * same).astype(int), top_p * same, chance)
    return np.bincount(tokens, minlength=len(LOGITS))


def probabilities(temperature: float = 1.0, allowed: Any = slice(None)) -> Any:
    weights = np.zeros(len(LOGITS))
    weights[allowed] = np.exp(LOGITS[allowed].astype(np.float64) / temperature)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, probabilities()),
        ({"temperature": 0.5}, probabilities(0.5)),
        ({"temperature": 2.0}, probabilities(2.0)),
        ({"top_k": 3}, probabilities(allowed=[2, 7, 4])),
        ({"top_k": 4, "temperature": 1.5}, probabilities(1.5, [2, 7, 4, 0])),  # of two equal ones the first
        ({"top_k": 100}, probabilities()),
        ({"top_p": 0.64}, probabilities(allowed=[2, 7])),  # 0.34 + 0.31
        ({"top_p": 0.66}, probabilities(allowed=[2, 7, 4])),
        ({"top_p": 0.5, "top_k": 3}, probabilities(allowed=[2, 7])),  # of the mass that top-k leaves
    ],
    ids=str,
)
def test_tokens_come_as_often_as_they_are_likely(how: dict[str, Any], expected: Any) -> None:
    count = 20_000
    found = drawn(count, **how)
    assert not found[expected == 0].any()
    there = expected > 0
    wanted = count * expected[there]
    statistic = ((found[there] - wanted) ** 2 / wanted).sum()
    assert statistic < CHI[int(there.sum()) - 1]


@pytest.mark.parametrize("how", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}, {"top_p": 0.2}], ids=str)
def test_the_most_likely_token_is_taken_where_no_other_may_be(how: dict[str, Any]) -> None:
    assert drawn(500, **how)[2] == 500


@pytest.mark.parametrize("temperature", [1e-320, 1e-46, 1e-30, 1e-9, 1e9])
def test_no_temperature_makes_it_stumble(temperature: float) -> None:
    found = drawn(400, temperature)
    if temperature < 1:
        assert found[2] == 400
    else:
        assert (found > 20).all()


def test_the_ends_of_chance_give_possible_tokens() -> None:
    rows = np.array([[-np.inf, 1.0, 0.0, -np.inf]] * 2, np.float32)
    one = np.ones(2)
    chance = np.array([0.0, np.nextafter(1.0, 0)])
    assert draw_tokens(rows, one, 0 * one.astype(int), one, chance).tolist() == [1, 2]


@given(
    weights=st.lists(st.integers(0, 5), min_size=1, max_size=9).filter(any),
    top_k=st.integers(0, 12),
    top_p=st.floats(0, 1),
)
def test_the_likeliest_are_the_smallest_set_that_is_enough(
    weights: list[int], top_k: int, top_p: float
) -> None:
    given_ = np.array([weights], np.float32)
    kept = most_likely(given_, np.array([top_k]), np.array([top_p]))[0]
    order = sorted(range(len(weights)), key=lambda index: (-weights[index], index))
    most = order[: top_k or len(order)]
    wanted, mass = list[int](), 0.0
    for index in most:
        if wanted and top_p < 1 and mass >= top_p * sum(weights[one] for one in most):
            break
        wanted.append(index)
        mass += weights[index]
    assert np.flatnonzero(kept).tolist() == sorted(wanted)


def search(**fields: Any) -> dict[str, Any]:
    return {"max_tokens": 50, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 7, **fields}


def walk(sampler: Sampler, rows: Any) -> list[int]:
    """Tokens by rows of logits, one after the other."""
    for row in rows:
        if sampler.result is not None:
            break
        accept_tokens([sampler], row[None])
    return sampler.tokens


def test_a_seed_decides_whoever_else_is_there() -> None:
    rows = np.random.default_rng(1).normal(size=(40, 12)).astype(np.float32)
    rows[:, END] = -20
    alone = walk(Sampler(search()), rows)
    assert walk(Sampler(search()), rows) == alone
    assert walk(Sampler(search(seed=8)), rows) != alone
    mine = Sampler(search())
    others = [Sampler(search(seed=seed, top_k=seed, temperature=0.5)) for seed in range(9)]
    for row in rows:
        accept_tokens([*others[:4], mine, *others[4:]], np.tile(row, (10, 1)))
    assert mine.tokens == alone


def test_without_a_seed_every_time_is_another() -> None:
    rows = np.zeros((30, 12), np.float32)
    rows[:, END] = -20
    assert walk(Sampler(search(seed=None)), rows) != walk(Sampler(search(seed=None)), rows)


@pytest.mark.parametrize("count", [1, 13, 39])
def test_what_has_begun_goes_on_as_it_would_have(count: int) -> None:
    rows = np.random.default_rng(1).normal(size=(40, 12)).astype(np.float32)
    rows[:, END] = -20
    whole = walk(Sampler(search()), rows)
    resumed = Sampler(search(begun=whole[:count]))
    assert walk(resumed, rows[count:]) == whole


def test_a_large_vocabulary_is_worked_on_in_parts() -> None:
    rows = np.random.default_rng(1).normal(size=(30, 5000)).astype(np.float32)
    rows[:, END] = -20
    together = [Sampler(search(seed=seed, top_p=0.9)) for seed in range(30)]
    accept_tokens(together, rows)
    for seed, sampler in enumerate(together):
        alone = Sampler(search(seed=seed, top_p=0.9))
        accept_tokens([alone], rows[seed : seed + 1])
        assert sampler.tokens == alone.tokens


def test_marks_are_never_chosen_and_the_logits_are_left_alone() -> None:
    rows = np.zeros((1, 6), np.float32)
    rows[:, SUPPRESSED_TOKENS] = 50
    sampler = Sampler(search())
    accept_tokens([sampler], rows)
    assert rows[0, SUPPRESSED_TOKENS].tolist() == [50, 50, 50]
    assert sampler.tokens in ([], [4], [5])


def test_the_end_is_no_token() -> None:
    sampler = Sampler(search())
    sampler.accept(5)
    assert (sampler.result, sampler.feed, sampler.parents) == (None, [5], [0])
    sampler.accept(END)
    assert sampler.result is not None
    assert (sampler.result.tokens.tolist(), sampler.result.note) == ([5], {"finish_reason": "stop"})
    assert sampler.parents == []


def test_it_does_not_end_before_as_many_tokens_as_it_must_have() -> None:
    logits = np.zeros((2, 6), np.float32)
    logits[:, END] = 20.0
    free, bound = Sampler(search(seed=1)), Sampler(search(seed=1, min_tokens=3))
    accept_tokens([free, bound], logits)
    assert free.result is not None
    for _ in range(3):
        accept_tokens([bound], logits[1:])
    assert (len(bound.tokens), bound.result is not None) == (3, True)


def test_the_last_token_is_the_last() -> None:
    sampler = Sampler(search(max_tokens=2))
    sampler.accept(5)
    sampler.accept(6)
    assert sampler.result is not None
    assert (sampler.result.tokens.tolist(), sampler.result.note) == ([5, 6], {"finish_reason": "length"})
    assert Sampler(search(max_tokens=2, begun=[5, 6])).result is not None


class Until:
    """Ends with a token; remembers what it saw."""

    def __init__(self, last: int) -> None:
        self.last, self.seen, self.ended = last, list[int](), False

    def push(self, tokens: Any) -> str:
        self.seen += tokens
        self.ended = self.last in self.seen
        return ""


def test_a_watcher_sees_every_token_and_may_end_it() -> None:
    watcher = Until(9)
    sampler = Sampler(search(begun=[4]), watcher)
    for token in (5, 9):
        assert sampler.result is None
        sampler.accept(token)
    assert sampler.result is not None
    assert (sampler.result.tokens.tolist(), sampler.result.note) == ([4, 5, 9], {"finish_reason": "stop"})
    assert watcher.seen == [4, 5, 9]
    assert Sampler(search(begun=[4, 9]), Until(9)).result is not None
