import numpy as np
import pytest

from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.tagging.metrics import evaluate_tags
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.tag_schemes import SCHEMES, TagSet

WORDS = ["", "Ann", "Lima", "is", "in", "Oslo"]


def sentences(scheme: str | None, names: list[str], *rows: list[tuple[str, str]]) -> Sentences:
    return Sentences(
        Texts.of(WORDS),
        Ragged.of([[WORDS.index(word) for word, _ in row] for row in rows], np.int32),
        np.array([names.index(tag) for row in rows for _, tag in row], np.int16),
        names,
        None if scheme is None else SCHEMES[scheme],
        np.zeros(len(rows), np.int8),
    )


TRAIN, TEST = np.array([0, 1]), np.array([3, 2])  # in any order


def test_tags_of_a_network_are_compared_by_name() -> None:
    data = sentences(
        None,
        ["V", "N", "P"],
        [("Ann", "N"), ("is", "V")],
        [("in", "P"), ("Lima", "N")],
        [("Oslo", "N"), ("is", "V")],
        [("Ann", "N"), ("in", "V")],
    )
    state = {"scheme": "plain", "tags": ["N", "V", "P"]}
    metrics, baseline = evaluate_tags(state, data, TEST, TRAIN, np.array([0, 1, 1, 1]))
    assert metrics["accuracy"] == 3 / 4  # only Oslo is wrong
    assert (metrics["unseen_words"], metrics["accuracy_unseen_words"]) == (1, 0)
    assert metrics["tags"]["N"]["recall"] == 1 / 2
    assert baseline["accuracy"] == 3 / 4  # `in` was P; Oslo ends as no word does, and most words are N
    assert baseline["accuracy_unseen_words"] == 1


@pytest.mark.parametrize("file", ["bio", "bioes"])
@pytest.mark.parametrize("learned", ["bio", "bioes"])
def test_entities_are_compared_whatever_their_schemes(file: str, learned: str) -> None:
    theirs = TagSet.complete(SCHEMES[file], ["event", "loc", "per"])  # numbered otherwise than the network's
    single = "B" if file == "bio" else "S"
    last = "I" if file == "bio" else "E"
    data = sentences(
        file,
        theirs.names,
        [("Ann", f"{single}-per"), ("is", "O")],
        [("Lima", f"{single}-loc"), ("in", "O")],
        [("Oslo", "B-loc"), ("Lima", f"{last}-loc")],
        [("Ann", f"{single}-per"), ("Lima", f"{single}-event")],
    )
    ours = TagSet.complete(SCHEMES[learned], ["loc", "per"])
    kinds, roles = np.array([2, 1, 1, 1]), np.array([3, 3, 0, 2])
    state = {"scheme": learned, "tags": ours.names}
    metrics, baseline = evaluate_tags(state, data, TEST, TRAIN, ours.tag_ids(kinds, roles))
    assert (metrics["precision"], metrics["recall"]) == (2 / 3, 2 / 3)
    assert metrics["accuracy"] == 3 / 4
    assert metrics["types"]["event"]["support"] == 1
    # by counting, the second Lima is an entity of its own
    assert baseline["types"]["per"]["f1"] == 1
    assert baseline["types"]["loc"]["recall"] == 0
    assert baseline["accuracy"] == 1 / 4
