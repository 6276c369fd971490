from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.tagging.tag_schemes import (
    SCHEMES,
    TagSet,
    TokenRole,
    detect_scheme,
    invalid_tags,
)

TYPES = ["loc", "per"]


def detected(*names: str) -> str | None:
    scheme = detect_scheme(Counter(names))
    return None if scheme is None else scheme.name


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        (["O", "B-per", "I-per"], "bio"),
        (["O", "I-per"], "bio"),
        (["O", "B-per"], "bio"),
        (["B-NP", "I-NP", "B-VP"], "bio"),
        (["O", "B-per", "I-per", "E-per", "S-per"], "bioes"),
        (["O", "S-per"], "bioes"),
        (["O", "B-per", "L-per", "I-per", "U-per"], "bilou"),
        (["O", "B-per", "M-per", "E-per", "S-per"], "bmes"),
        (["B", "I", "O"], "bio"),
        (["B", "M", "E", "S"], "bmes"),
        (["O", "B-per-son", "I-per-son"], "bio"),
        (["NN", "VB", "DT"], None),
        (["O", "PER", "LOC"], None),
        (["O"], None),
        (["O", "B"], None),
        (["B", "I", "NN"], None),
        (["in+at-t", "b-e", "NN"], None),
        (["I-XX", "NN", "VB", "DT"], None),
    ],
)
def test_a_scheme_is_detected_by_its_tags(names: list[str], scheme: str | None) -> None:
    assert detected(*names) == scheme


def test_mistakes_among_many_good_tags_change_nothing() -> None:
    good = ["O"] * 20 + ["B-per", "I-per"] * 3
    assert detected(*good, "PER", "X-per", "I") == "bio"
    assert detected(*good, "U-per", "S-per", "S-per", "E-per") == "bio"
    assert detected(*good, *["E-per", "S-per"] * 2, "L-per") == "bioes"


def test_tags_beside_a_scheme_are_wrong() -> None:
    names = ["O", "B-per", "B-", "I", "X-per", "b-per", "per", "I-per", "E-per", "B- "]
    wrong = invalid_tags(SCHEMES["bio"], names)
    assert sorted(wrong) == [2, 3, 4, 5, 6, 8, 9]
    assert wrong[2] == "the others are BIO: O, or B or I with '-' and a type"
    assert invalid_tags(SCHEMES["bmes"], ["B", "M", "E", "S"]) == {}
    assert invalid_tags(SCHEMES["bioes"], ["O", "B", "I", "x"])[3].endswith("O, or B, I, E or S")


@pytest.mark.parametrize("name", SCHEMES)
def test_a_full_set_has_every_role_of_every_type(name: str) -> None:
    scheme = SCHEMES[name]
    tags = TagSet.complete(scheme, TYPES[::-1])
    assert tags.names[0] == "O"
    assert tags.types == ["", "loc", "per"]
    types, roles = np.meshgrid([1, 2], list(TokenRole))
    numbers = tags.tag_ids(types.ravel(), roles.ravel())
    written = [tags.names[number] for number in numbers]
    assert set(written) == set(tags.names[1:])
    assert written == [
        scheme.tag(role, tags.types[type_id])
        for type_id, role in zip(types.ravel(), roles.ravel(), strict=True)
    ]
    assert tags.tag_ids(np.zeros(3, np.int64), np.arange(3)).tolist() == [0, 0, 0]


def test_a_set_without_names_of_types_has_one_type() -> None:
    tags = TagSet.complete(SCHEMES["bio"], [""])
    assert tags.names == ["O", "B", "I"]
    assert tags.type_ids.tolist() == [0, 1, 1]
    assert TagSet.parse(SCHEMES["bio"], ["I", "O", "B"]).type_ids.tolist() == [1, 0, 1]


@given(st.sampled_from(["bio", "bioes"]), st.data())
def test_what_is_not_forbidden_is_legal_for_seqeval(seqeval: Any, name: str, data: st.DataObject) -> None:
    tags = TagSet.complete(SCHEMES[name], TYPES)
    numbers = data.draw(st.lists(st.integers(0, len(tags.names) - 1), min_size=1, max_size=6))
    edge = len(tags.names)
    forbidden = {(source, to) for source, to in tags.forbidden_transitions()}
    legal = not any(pair in forbidden for pair in pairwise([edge, *numbers, edge]))
    # seqeval reads only what is legal as entities: then every tag but O is in one
    scheme = {"bio": seqeval.scheme.IOB2, "bioes": seqeval.scheme.IOBES}[name]
    entities = seqeval.scheme.Entities([[tags.names[number] for number in numbers]], scheme)
    covered = {at for entity in entities.entities[0] for at in range(entity.start, entity.end)}
    assert legal == (covered == {at for at, number in enumerate(numbers) if number})


def test_transitions_of_bio_are_few() -> None:
    tags = TagSet.complete(SCHEMES["bio"], ["x"])  # O B-x I-x; 3 is the start and the end
    assert tags.forbidden_transitions() == [[0, 2], [3, 2]]
    tags = TagSet.complete(SCHEMES["bioes"], ["x"])  # O B-x I-x E-x S-x
    assert [5, 2] in tags.forbidden_transitions()  # nothing begins with I
    assert [1, 5] in tags.forbidden_transitions()  # nor ends after B
    assert [3, 5] not in tags.forbidden_transitions()
    assert [5, 5] not in tags.forbidden_transitions()
