from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from app.tasks.shared.ragged import offsets_of
from app.tasks.tagging.spans import Segments, firsts_of
from app.tasks.tagging.tag_schemes import SCHEMES, TagSet
from tests.tagged import bioes, entities, iob1

KINDS = ["loc", "per"]
SEQUENCES = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=8), min_size=1, max_size=4)


def read(tags: TagSet, sentences: list[list[int]]) -> tuple[Segments, np.ndarray]:
    offsets = offsets_of(np.array([len(one) for one in sentences]))
    return Segments.read(tags, np.concatenate(sentences), firsts_of(offsets)), offsets


def named(tags: TagSet, segments: Segments, offsets: np.ndarray) -> list[tuple[int, str, int, int]]:
    found = []
    for first, behind, kind in segments.spans().tolist():
        row = int(np.searchsorted(offsets, first, side="right")) - 1
        found.append((row, tags.types[kind], first - int(offsets[row]), behind - 1 - int(offsets[row])))
    return found


@given(SEQUENCES)
def test_any_tags_are_read_as_seqeval_reads_them(sentences: list[list[int]]) -> None:
    tags = TagSet.full(SCHEMES["bioes"], KINDS)
    expected = [
        (row, kind, first, last)
        for row, one in enumerate(sentences)
        for kind, first, last in get_entities([tags.names[number] for number in one])
    ]
    assert named(tags, *read(tags, sentences)) == expected


@pytest.mark.parametrize("name", SCHEMES)
@given(SEQUENCES)
def test_what_was_read_is_written_and_read_again(name: str, sentences: list[list[int]]) -> None:
    tags = TagSet.full(SCHEMES[name], KINDS)
    told = [[number % len(tags.names) for number in one] for one in sentences]
    segments, offsets = read(tags, told)
    written = tags.numbers(segments.kinds, segments.roles)
    again = Segments.read(tags, written, firsts_of(offsets))
    np.testing.assert_array_equal(again.spans(), segments.spans())
    never = {tuple(pair) for pair in tags.forbidden()}
    for start, end in pairwise(offsets.tolist()):
        path = [len(tags.names), *written[start:end].tolist(), len(tags.names)]
        assert not never & set(pairwise(path))


def test_schemes_tell_the_same_entities() -> None:
    for _, tags in entities(30):
        spans = [
            Segments.read(found, np.arange(len(told)), np.arange(len(told)) == 0).spans().tolist()
            for scheme, told in (("bio", tags), ("bioes", bioes(tags)), ("bio", iob1(tags)))
            for found in [TagSet.parsed(SCHEMES[scheme], told)]
        ]
        assert spans[0] == spans[1] == spans[2]


def test_the_roles_of_tokens() -> None:
    tags = TagSet.parsed(SCHEMES["bio"], ["B-x", "I-x", "I-x", "O", "B-x", "B-x", "I-x"])
    segments = Segments.read(tags, np.arange(7), np.arange(7) == 0)
    assert segments.roles[segments.kinds > 0].tolist() == [0, 1, 2, 3, 0, 2]


def test_entities_do_not_go_on_in_the_next_sentence() -> None:
    tags = TagSet.full(SCHEMES["bio"], ["x"])
    segments, _ = read(tags, [[1, 2], [2, 2], [2]])
    assert segments.spans().tolist() == [[0, 2, 1], [2, 4, 1], [4, 5, 1]]


def test_types_can_be_renumbered_and_dropped() -> None:
    tags = TagSet.full(SCHEMES["bio"], KINDS)
    segments, _ = read(tags, [[1, 2, 3, 0, 4]])
    assert segments.mapped(np.array([0, 5, 0])).spans().tolist() == [[0, 2, 5]]
    assert segments.mapped(np.array([0, 0, 1])).spans().tolist() == [[2, 3, 1], [4, 5, 1]]
