"""The n-gram model of numbers: its probabilities add up to one, whatever came before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.ngrams import NGRAM_ORDER, NGramModel

SIZE = 6


@given(
    st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=60),
    st.lists(st.integers(0, SIZE - 1), max_size=8),
)
def test_what_may_follow_has_a_probability_of_one_in_all(stream: list[int], history: list[int]) -> None:
    model = NGramModel(np.array([0] * (NGRAM_ORDER - 1) + stream), SIZE)
    before = [0] * (NGRAM_ORDER - 1) + history
    likely = [np.exp(-model.nats(np.array([*before, number]))[-1]) for number in range(SIZE)]
    assert sum(likely) == pytest.approx(1)
    assert min(likely) > 0


def test_what_repeats_is_expected() -> None:
    stream = np.tile([1, 2, 3, 4], 100)
    model = NGramModel(stream, SIZE)
    assert model.nats(np.array([1, 2, 3, 4, 1]))[0] < 0.1
    assert model.nats(np.array([1, 2, 3, 4, 3]))[0] > 3
