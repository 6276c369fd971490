from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.tagging.sentences import Sentences, cut
from app.tasks.tagging.tag_schemes import SCHEMES


def some(scheme: str | None = "bio") -> Sentences:
    return Sentences(
        words=Texts.of(["", "Ann", "in", "Lima", "é"]),
        tokens=Ragged.of([[1, 2, 3], [4], [2, 1]], np.int32),
        tags=np.array([0, 1, 2, 1, 1, 0], np.int16),
        names=["B-per", "O", "B-loc"],
        scheme=None if scheme is None else SCHEMES[scheme],
        splits=np.array([0, 2, -1], np.int8),
    )


@pytest.mark.parametrize("scheme", ["bio", "bioes", None])
def test_arrays_and_back(scheme: str | None) -> None:
    told = some(scheme)
    arrays = told.arrays()
    assert all(array.dtype != object for array in arrays.values())
    found = Sentences.from_arrays(arrays)
    assert (found.names, found.scheme, len(found)) == (told.names, told.scheme, 3)
    assert found.words.pick(range(5)) == ["", "Ann", "in", "Lima", "é"]
    np.testing.assert_array_equal(found.tokens.values, told.tokens.values)
    np.testing.assert_array_equal(found.tags, told.tags)
    np.testing.assert_array_equal(found.splits, told.splits)


def test_what_is_known_of_them() -> None:
    found = some()
    assert found.training.tolist() == [True, False, True]
    assert found.taken(np.array([2, 0])).tolist() == [4, 5, 0, 1, 2]
    assert found.taken(np.array([], np.int64)).tolist() == []
    assert found.segments.spans().tolist() == [[0, 1, 2], [2, 3, 1], [5, 6, 2]]
    with pytest.raises(ValueError, match="no entities"):
        _ = some(None).tag_set


def pieces(lengths: list[int], longest: int, apart: Any = None) -> list[int]:
    offsets = offsets_of(np.array(lengths))
    everywhere = np.ones(offsets[-1], bool) if apart is None else np.array(apart, bool)
    return np.diff(cut(offsets, longest, everywhere)).tolist()  # type: ignore[no-any-return]


def test_long_sentences_are_cut() -> None:
    assert pieces([3, 7, 2], 7) == [3, 7, 2]
    assert pieces([3, 7, 2], 3) == [3, 3, 3, 1, 2]
    assert pieces([3, 7, 2], 1) == [1] * 12


def test_nothing_is_cut_within_an_entity() -> None:
    assert pieces([6], 3, [1, 1, 1, 0, 1, 1]) == [2, 3, 1]
    assert pieces([6], 2, [1, 0, 0, 0, 1, 1]) == [4, 2]
    assert pieces([6], 2, [1, 0, 0, 0, 0, 0]) == [6]
    assert pieces([6], 2, [0, 1, 0, 0, 0, 1]) == [1, 4, 1]


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_pieces_are_all_of_it_and_as_short_as_may_be(lengths: list[int], longest: int, random: Any) -> None:
    offsets = offsets_of(np.array(lengths))
    apart = np.array([random.random() < 0.4 for _ in range(offsets[-1])])
    found = cut(offsets, longest, apart)
    assert set(offsets.tolist()) <= set(found.tolist())
    assert (np.diff(found) > 0).all()
    inner = np.setdiff1d(found, offsets)
    assert apart[inner].all()
    for start, end in zip(found[:-1].tolist(), found[1:].tolist(), strict=True):
        assert end - start <= longest or not apart[start + 1 : end].any()
