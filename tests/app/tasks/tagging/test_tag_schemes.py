from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.scheme import IOB2, IOBES, Entities

from app.tasks.tagging.tag_schemes import BEGIN, END, INSIDE, SCHEMES, SINGLE, TagSet, detect, wrong_tags

KINDS = ["loc", "per"]


def found(*names: str) -> str | None:
    scheme = detect(Counter(names))
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
def test_tags_tell_their_scheme(names: list[str], scheme: str | None) -> None:
    assert found(*names) == scheme


def test_mistakes_among_many_good_tags_change_nothing() -> None:
    good = ["O"] * 20 + ["B-per", "I-per"] * 3
    assert found(*good, "PER", "X-per", "I") == "bio"
    assert found(*good, "U-per", "S-per", "S-per", "E-per") == "bio"
    assert found(*good, *["E-per", "S-per"] * 2, "L-per") == "bioes"


def test_tags_beside_a_scheme_are_wrong() -> None:
    names = ["O", "B-per", "B-", "I", "X-per", "b-per", "per", "I-per", "E-per", "B- "]
    wrong = wrong_tags(SCHEMES["bio"], names)
    assert sorted(wrong) == [2, 3, 4, 5, 6, 8, 9]
    assert wrong[2] == "the others are BIO: O, or B or I with '-' and a type"
    assert wrong_tags(SCHEMES["bmes"], ["B", "M", "E", "S"]) == {}
    assert wrong_tags(SCHEMES["bioes"], ["O", "B", "I", "x"])[3].endswith("O, or B, I, E or S")


@pytest.mark.parametrize("name", SCHEMES)
def test_a_full_set_has_every_role_of_every_type(name: str) -> None:
    scheme = SCHEMES[name]
    tags = TagSet.full(scheme, KINDS[::-1])
    assert tags.names[0] == "O"
    assert tags.types == ["", "loc", "per"]
    kinds, roles = np.meshgrid([1, 2], [BEGIN, INSIDE, END, SINGLE])
    numbers = tags.numbers(kinds.ravel(), roles.ravel())
    written = [tags.names[number] for number in numbers]
    assert set(written) == set(tags.names[1:])
    assert written == [
        scheme.write(role, tags.types[kind]) for kind, role in zip(kinds.ravel(), roles.ravel(), strict=True)
    ]
    assert tags.numbers(np.zeros(3, np.int64), np.arange(3)).tolist() == [0, 0, 0]


def test_a_set_without_names_of_types_has_one_type() -> None:
    tags = TagSet.full(SCHEMES["bio"], [""])
    assert tags.names == ["O", "B", "I"]
    assert tags.kinds.tolist() == [0, 1, 1]
    assert TagSet.parsed(SCHEMES["bio"], ["I", "O", "B"]).kinds.tolist() == [1, 0, 1]


@given(st.sampled_from(["bio", "bioes"]), st.data())
def test_what_is_not_forbidden_is_legal_for_seqeval(name: str, data: st.DataObject) -> None:
    tags = TagSet.full(SCHEMES[name], KINDS)
    numbers = data.draw(st.lists(st.integers(0, len(tags.names) - 1), min_size=1, max_size=6))
    edge = len(tags.names)
    never = {(source, to) for source, to in tags.forbidden()}
    legal = not any(pair in never for pair in pairwise([edge, *numbers, edge]))
    # seqeval reads only what is legal as entities: then every tag but O is in one
    told = Entities([[tags.names[number] for number in numbers]], {"bio": IOB2, "bioes": IOBES}[name])
    covered = {at for entity in told.entities[0] for at in range(entity.start, entity.end)}
    assert legal == (covered == {at for at, number in enumerate(numbers) if number})


def test_transitions_of_bio_are_few() -> None:
    tags = TagSet.full(SCHEMES["bio"], ["x"])  # O B-x I-x; 3 is the start and the end
    assert tags.forbidden() == [[0, 2], [3, 2]]
    tags = TagSet.full(SCHEMES["bioes"], ["x"])  # O B-x I-x E-x S-x
    assert [5, 2] in tags.forbidden()  # nothing begins with I
    assert [1, 5] in tags.forbidden()  # nor ends after B
    assert [3, 5] not in tags.forbidden()
    assert [5, 5] not in tags.forbidden()
