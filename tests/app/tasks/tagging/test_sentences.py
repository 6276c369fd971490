from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.tagging.sentences import Sentences, cut_sentences
from app.tasks.tagging.tag_schemes import SCHEMES


def make_sentences(scheme: str | None = "bio") -> Sentences:
    return Sentences(
        words=Texts.of(["", "Ann", "in", "Lima", "é"]),
        tokens=Ragged.of([[1, 2, 3], [4], [2, 1]], np.int32),
        tags=np.array([0, 1, 2, 1, 1, 0], np.int16),
        tag_names=["B-per", "O", "B-loc"],
        scheme=None if scheme is None else SCHEMES[scheme],
        splits=np.array([0, 2, -1], np.int8),
    )


@pytest.mark.parametrize("scheme", ["bio", "bioes", None])
def test_arrays_and_back(scheme: str | None) -> None:
    sentences = make_sentences(scheme)
    arrays = sentences.arrays()
    assert all(array.dtype != object for array in arrays.values())
    restored = Sentences.from_arrays(arrays)
    assert (restored.tag_names, restored.scheme, len(restored)) == (sentences.tag_names, sentences.scheme, 3)
    assert restored.words.pick(range(5)) == ["", "Ann", "in", "Lima", "é"]
    np.testing.assert_array_equal(restored.tokens.values, sentences.tokens.values)
    np.testing.assert_array_equal(restored.tags, sentences.tags)
    np.testing.assert_array_equal(restored.splits, sentences.splits)


def test_training_sentences_and_entities() -> None:
    sentences = make_sentences()
    assert sentences.is_trainable.tolist() == [True, False, True]
    assert sentences.token_indices(np.array([2, 0])).tolist() == [4, 5, 0, 1, 2]
    assert sentences.token_indices(np.array([], np.int64)).tolist() == []
    assert sentences.entities.spans().tolist() == [[0, 1, 2], [2, 3, 1], [5, 6, 2]]
    with pytest.raises(ValueError, match="no entities"):
        _ = make_sentences(None).tag_set


def piece_lengths(lengths: list[int], max_tokens: int, can_cut_before: Any = None) -> list[int]:
    offsets = offsets_of(np.array(lengths))
    everywhere = np.ones(offsets[-1], bool) if can_cut_before is None else np.array(can_cut_before, bool)
    return np.diff(cut_sentences(offsets, max_tokens, everywhere)).tolist()  # type: ignore[no-any-return]


def test_long_sentences_are_cut() -> None:
    assert piece_lengths([3, 7, 2], 7) == [3, 7, 2]
    assert piece_lengths([3, 7, 2], 3) == [3, 3, 3, 1, 2]
    assert piece_lengths([3, 7, 2], 1) == [1] * 12


def test_nothing_is_cut_within_an_entity() -> None:
    assert piece_lengths([6], 3, [1, 1, 1, 0, 1, 1]) == [2, 3, 1]
    assert piece_lengths([6], 2, [1, 0, 0, 0, 1, 1]) == [4, 2]
    assert piece_lengths([6], 2, [1, 0, 0, 0, 0, 0]) == [6]
    assert piece_lengths([6], 2, [0, 1, 0, 0, 0, 1]) == [1, 4, 1]


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_pieces_cover_all_and_are_as_short_as_possible(
    lengths: list[int], max_tokens: int, random: Any
) -> None:
    offsets = offsets_of(np.array(lengths))
    can_cut_before = np.array([random.random() < 0.4 for _ in range(offsets[-1])])
    pieces = cut_sentences(offsets, max_tokens, can_cut_before)
    assert set(offsets.tolist()) <= set(pieces.tolist())
    assert (np.diff(pieces) > 0).all()
    inner = np.setdiff1d(pieces, offsets)
    assert can_cut_before[inner].all()
    for start, end in zip(pieces[:-1].tolist(), pieces[1:].tolist(), strict=True):
        assert end - start <= max_tokens or not can_cut_before[start + 1 : end].any()
