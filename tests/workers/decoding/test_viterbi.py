"""The best path: against all paths, and whatever else is in the batch."""

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workers.decoding.viterbi import best

SCORES = st.floats(-8, 8, width=32)


def worth(emissions: Any, transitions: Any, path: tuple[int, ...]) -> float:
    """The score of a path through emissions (time, tags)."""
    tags = emissions.shape[1]
    steps = sum(float(emissions[step, tag]) for step, tag in enumerate(path))
    between = sum(float(transitions[one, other]) for one, other in pairwise(path))
    return steps + between + float(transitions[tags, path[0]]) + float(transitions[tags + 1, path[-1]])


@st.composite
def problems(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    batch, time, tags = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    emissions = draw(arrays(np.float32, (batch, time, tags), elements=SCORES))
    transitions = draw(arrays(np.float32, (tags + 2, tags), elements=SCORES | st.just(-1e4)))
    lengths = draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch))
    return emissions, np.array(lengths), transitions


@given(problems())
def test_no_path_is_better(problem: tuple[Any, Any, Any]) -> None:
    emissions, lengths, transitions = problem
    found = best(emissions, lengths, transitions)
    assert found.shape == emissions.shape[:2]
    for row, (path, length) in enumerate(zip(found, lengths, strict=True)):
        paths = product(range(emissions.shape[2]), repeat=int(length))
        highest = max(worth(emissions[row], transitions, one) for one in paths)
        reached = worth(emissions[row], transitions, tuple(path[:length].tolist()))
        assert reached == pytest.approx(highest, abs=1e-6)
        assert not path[length:].any()


@given(problems())
def test_without_transitions_each_step_is_by_itself(problem: tuple[Any, Any, Any]) -> None:
    emissions, lengths, _ = problem
    found = best(emissions, lengths)
    for row, length in enumerate(lengths):
        assert found[row, :length].tolist() == emissions[row, :length].argmax(axis=1).tolist()
        assert not found[row, length:].any()


def test_a_batch_says_what_each_row_says_alone() -> None:
    rng = np.random.default_rng(0)
    emissions = rng.normal(size=(20, 40, 7)).astype(np.float32)
    lengths, transitions = rng.integers(1, 41, 20), rng.normal(size=(9, 7)).astype(np.float32)
    together = best(emissions, lengths, transitions)
    for row, length in enumerate(lengths):
        alone = best(emissions[row : row + 1, :length], lengths[row : row + 1], transitions)
        assert together[row, :length].tolist() == alone[0].tolist()


def test_what_may_never_follow_never_does() -> None:
    transitions = np.zeros((4, 2), np.float32)
    transitions[0, 1] = transitions[2, 1] = -1e4  # nothing may go to tag 1 but from itself
    emissions = np.tile(np.array([0.0, 5.0], np.float32), (1, 6, 1))
    assert best(emissions, np.array([6]), transitions).tolist() == [[0] * 6]
