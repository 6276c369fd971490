import numpy as np
import pytest

from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.tagging.encoding import TagTargets
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.tag_schemes import SCHEMES
from tests.support.factories.tagged import to_bioes


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


def named(targets: TagTargets) -> list[str]:
    return [targets.tag_names[number] for number in targets.tag_ids.tolist()]


ROWS = [["B-per", "I-per", "I-per", "O", "B-loc"], ["O", "B-per", "B-per", "I-per"]]


@pytest.mark.parametrize("option", ["auto", "bioes"])
def test_entities_are_learned_as_bioes(option: str) -> None:
    targets = TagTargets.learn(sentences("bio", *ROWS), np.arange(2), option)
    assert targets.scheme == "bioes"
    assert targets.tag_names == ["O", *(f"{letter}-{kind}" for kind in ("loc", "per") for letter in "BIES")]
    assert named(targets) == [tag for row in ROWS for tag in to_bioes(row)]
    assert targets.can_cut_before.tolist() == [True, False, False, True, True, True, True, True, False]
    assert [0, targets.tag_names.index("I-per")] in targets.forbidden


@pytest.mark.parametrize("file", ["bio", "bioes"])
def test_entities_may_be_learned_as_bio(file: str) -> None:
    rows = ROWS if file == "bio" else [to_bioes(row) for row in ROWS]
    targets = TagTargets.learn(sentences(file, *rows), np.arange(2), "bio")
    assert targets.tag_names == ["O", "B-loc", "I-loc", "B-per", "I-per"]
    assert named(targets) == [tag for row in ROWS for tag in row]


def test_types_that_training_has_not_are_no_entities() -> None:
    data = sentences("bio", ["B-per", "O"], ["B-loc", "I-loc", "B-per"])
    targets = TagTargets.learn(data, np.array([0]), "auto")
    assert targets.tag_names == ["O", "B-per", "I-per", "E-per", "S-per"]
    assert named(targets) == ["S-per", "O", "O", "O", "S-per"]


def test_other_tags_are_numbered_by_how_often_training_has_them() -> None:
    data = sentences(None, ["VB", "NN", "NN"], ["NN", "RARE", "VB"], ["ODD", "NN"])
    targets = TagTargets.learn(data, np.array([0, 1]), "auto")
    assert (targets.scheme, targets.forbidden) == ("plain", [])
    assert targets.tag_names == ["NN", "VB", "RARE"]
    assert named(targets) == ["VB", "NN", "NN", "NN", "RARE", "VB", "NN", "NN"]  # ODD cannot be learned
    assert targets.can_cut_before.all()


def test_entities_may_be_learned_as_any_tags() -> None:
    targets = TagTargets.learn(sentences("bio", *ROWS), np.arange(2), "plain")
    assert targets.scheme == "plain"
    assert named(targets) == [tag for row in ROWS for tag in row]


def test_entities_without_a_type() -> None:
    targets = TagTargets.learn(sentences("bio", ["B", "I", "O"], ["B"]), np.arange(2), "auto")
    assert targets.tag_names == ["O", "B", "I", "E", "S"]
    assert named(targets) == ["B", "E", "O", "S"]
