from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.ragged import offsets_of
from app.tasks.tagging.spans import EntityMarks, sentence_starts
from app.tasks.tagging.tag_schemes import SCHEMES, TagSet
from tests.support.factories.tagged import entities, to_bioes, to_iob1

TYPES = ["loc", "per"]
SEQUENCES = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=8), min_size=1, max_size=4)


def read_marks(tags: TagSet, sentences: list[list[int]]) -> tuple[EntityMarks, np.ndarray]:
    offsets = offsets_of(np.array([len(one) for one in sentences]))
    return EntityMarks.from_tags(tags, np.concatenate(sentences), sentence_starts(offsets)), offsets


def named(tags: TagSet, marks: EntityMarks, offsets: np.ndarray) -> list[tuple[int, str, int, int]]:
    spans = []
    for first, stop, kind in marks.spans().tolist():
        row = int(np.searchsorted(offsets, first, side="right")) - 1
        spans.append((row, tags.types[kind], first - int(offsets[row]), stop - 1 - int(offsets[row])))
    return spans


@given(SEQUENCES)
def test_any_tags_are_read_as_seqeval_reads_them(seqeval: Any, sentences: list[list[int]]) -> None:
    tags = TagSet.complete(SCHEMES["bioes"], TYPES)
    entities_of = seqeval.metrics.sequence_labeling.get_entities
    expected = [
        (row, kind, first, last)
        for row, one in enumerate(sentences)
        for kind, first, last in entities_of([tags.names[number] for number in one])
    ]
    assert named(tags, *read_marks(tags, sentences)) == expected


@pytest.mark.parametrize("name", SCHEMES)
@given(SEQUENCES)
def test_what_was_read_is_written_and_read_again(name: str, sentences: list[list[int]]) -> None:
    tags = TagSet.complete(SCHEMES[name], TYPES)
    numbers = [[number % len(tags.names) for number in one] for one in sentences]
    marks, offsets = read_marks(tags, numbers)
    written = tags.tag_ids(marks.type_ids, marks.roles)
    again = EntityMarks.from_tags(tags, written, sentence_starts(offsets))
    np.testing.assert_array_equal(again.spans(), marks.spans())
    forbidden = {tuple(pair) for pair in tags.forbidden_transitions()}
    for start, end in pairwise(offsets.tolist()):
        path = [len(tags.names), *written[start:end].tolist(), len(tags.names)]
        assert not forbidden & set(pairwise(path))


def test_schemes_mark_the_same_entities() -> None:
    for _, tags in entities(30):
        ids = np.arange(len(tags))
        spans = [
            EntityMarks.from_tags(TagSet.parse(SCHEMES[scheme], written), ids, ids == 0).spans().tolist()
            for scheme, written in (("bio", tags), ("bioes", to_bioes(tags)), ("bio", to_iob1(tags)))
        ]
        assert spans[0] == spans[1] == spans[2]


def test_the_roles_of_tokens() -> None:
    tags = TagSet.parse(SCHEMES["bio"], ["B-x", "I-x", "I-x", "O", "B-x", "B-x", "I-x"])
    marks = EntityMarks.from_tags(tags, np.arange(7), np.arange(7) == 0)
    assert marks.roles[marks.type_ids > 0].tolist() == [0, 1, 2, 3, 0, 2]


def test_entities_do_not_go_on_in_the_next_sentence() -> None:
    tags = TagSet.complete(SCHEMES["bio"], ["x"])
    marks, _ = read_marks(tags, [[1, 2], [2, 2], [2]])
    assert marks.spans().tolist() == [[0, 2, 1], [2, 4, 1], [4, 5, 1]]


def test_types_can_be_renumbered_and_dropped() -> None:
    tags = TagSet.complete(SCHEMES["bio"], TYPES)
    marks, _ = read_marks(tags, [[1, 2, 3, 0, 4]])
    assert marks.map_types(np.array([0, 5, 0])).spans().tolist() == [[0, 2, 5]]
    assert marks.map_types(np.array([0, 0, 1])).spans().tolist() == [[2, 3, 1], [4, 5, 1]]
