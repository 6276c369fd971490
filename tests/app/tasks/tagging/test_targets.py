import numpy as np
import pytest

from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.tagging.encoding import Targets
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.tag_schemes import SCHEMES
from tests.tagged import bioes


def sentences(scheme: str | None, *tags: list[str]) -> Sentences:
    names = list(dict.fromkeys(tag for row in tags for tag in row))
    return Sentences(
        Texts.of(["", "w"]),
        Ragged.of([[1] * len(row) for row in tags], np.int32),
        np.array([names.index(tag) for row in tags for tag in row], np.int16),
        names,
        None if scheme is None else SCHEMES[scheme],
        np.zeros(len(tags), np.int8),
    )


def named(targets: Targets) -> list[str]:
    return [targets.names[number] for number in targets.numbers.tolist()]


ROWS = [["B-per", "I-per", "I-per", "O", "B-loc"], ["O", "B-per", "B-per", "I-per"]]


@pytest.mark.parametrize("option", ["auto", "bioes"])
def test_entities_are_learned_as_bioes(option: str) -> None:
    targets = Targets.learn(sentences("bio", *ROWS), np.arange(2), option)
    assert targets.scheme == "bioes"
    assert targets.names == ["O", *(f"{letter}-{kind}" for kind in ("loc", "per") for letter in "BIES")]
    assert named(targets) == [tag for row in ROWS for tag in bioes(row)]
    assert targets.apart.tolist() == [True, False, False, True, True, True, True, True, False]
    assert [0, targets.names.index("I-per")] in targets.forbidden


@pytest.mark.parametrize("file", ["bio", "bioes"])
def test_entities_may_be_learned_as_bio(file: str) -> None:
    told = ROWS if file == "bio" else [bioes(row) for row in ROWS]
    targets = Targets.learn(sentences(file, *told), np.arange(2), "bio")
    assert targets.names == ["O", "B-loc", "I-loc", "B-per", "I-per"]
    assert named(targets) == [tag for row in ROWS for tag in row]


def test_types_that_training_has_not_are_no_entities() -> None:
    found = sentences("bio", ["B-per", "O"], ["B-loc", "I-loc", "B-per"])
    targets = Targets.learn(found, np.array([0]), "auto")
    assert targets.names == ["O", "B-per", "I-per", "E-per", "S-per"]
    assert named(targets) == ["S-per", "O", "O", "O", "S-per"]


def test_other_tags_are_numbered_by_how_often_training_has_them() -> None:
    found = sentences(None, ["VB", "NN", "NN"], ["NN", "RARE", "VB"], ["ODD", "NN"])
    targets = Targets.learn(found, np.array([0, 1]), "auto")
    assert (targets.scheme, targets.forbidden) == ("plain", [])
    assert targets.names == ["NN", "VB", "RARE"]
    assert named(targets) == ["VB", "NN", "NN", "NN", "RARE", "VB", "NN", "NN"]  # ODD cannot be learned
    assert targets.apart.all()


def test_entities_may_be_learned_as_any_tags() -> None:
    targets = Targets.learn(sentences("bio", *ROWS), np.arange(2), "plain")
    assert targets.scheme == "plain"
    assert named(targets) == [tag for row in ROWS for tag in row]


def test_entities_without_a_type() -> None:
    targets = Targets.learn(sentences("bio", ["B", "I", "O"], ["B"]), np.arange(2), "auto")
    assert targets.names == ["O", "B", "I", "E", "S"]
    assert named(targets) == ["B", "E", "O", "S"]
