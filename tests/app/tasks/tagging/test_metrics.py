"""Scores of tags against the package whose rules they follow."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.ragged import offsets_of
from app.tasks.tagging.metrics import score_entities, score_tags
from app.tasks.tagging.spans import EntityMarks, sentence_starts
from app.tasks.tagging.tag_schemes import SCHEMES, TagSet

TAGS = TagSet.complete(SCHEMES["bioes"], ["loc", "org", "per"])
STEP = st.tuples(*[st.integers(0, len(TAGS.names) - 1)] * 2)
PAIRS = st.lists(st.lists(STEP, min_size=1, max_size=8), min_size=1, max_size=5)


def scored(pairs: list[list[tuple[int, int]]]) -> Any:
    starts = sentence_starts(offsets_of(np.array([len(row) for row in pairs])))
    truth, predicted = np.array([step for row in pairs for step in row]).T
    expected, actual = (EntityMarks.from_tags(TAGS, one, starts) for one in (truth, predicted))
    return score_entities(TAGS.types, expected, actual, truth == predicted)


def by_seqeval(seqeval: Any, pairs: list[list[tuple[int, int]]]) -> Any:
    truth, predicted = ([[TAGS.names[step[side]] for step in row] for row in pairs] for side in (0, 1))
    report = seqeval.metrics.classification_report(truth, predicted, output_dict=True, zero_division=0)
    return report, seqeval.metrics.accuracy_score(truth, predicted)


@given(PAIRS)
def test_entities_are_scored_as_by_seqeval(seqeval: Any, pairs: list[list[tuple[int, int]]]) -> None:
    ours = scored(pairs)
    if not ours["types"]:  # without any entity seqeval gives no report
        assert (ours["f1"], ours["precision"], ours["recall"]) == (0, 0, 0)
        return
    theirs, accuracy = by_seqeval(seqeval, pairs)
    assert ours["accuracy"] == pytest.approx(accuracy)
    for name in ("f1", "precision", "recall"):
        key = "f1-score" if name == "f1" else name
        assert ours[name] == pytest.approx(theirs["micro avg"][key])
        for kind, figures in ours["types"].items():
            assert figures[name] == pytest.approx(theirs[kind][key])
    assert ours["entities"] == theirs["micro avg"]["support"]
    assert ours["types"].keys() == theirs.keys() - {"micro avg", "macro avg", "weighted avg"}


def test_the_right_span_of_another_type_is_wrong() -> None:
    names = TAGS.names
    pairs = [[(names.index("S-per"), names.index("S-loc")), (names.index("S-org"), names.index("S-org"))]]
    scores = scored(pairs)
    assert (scores["f1"], scores["entities"], scores["accuracy"]) == (0.5, 2, 0.5)
    assert scores["types"]["per"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert scores["types"]["loc"]["support"] == 0


def test_tags_are_scored_word_by_word() -> None:
    truth, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 1])
    scores = score_tags(["NN", "VB", "DT", "XX"], truth, predicted, np.array([0, 0, 1, 1, 0], bool))
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["accuracy_unseen_words"] == pytest.approx(1 / 2)
    assert scores["unseen_words"] == 2
    assert list(scores["tags"]) == ["NN", "VB", "DT"]
    assert scores["tags"]["NN"] == {"precision": 1, "recall": 2 / 3, "f1": 4 / 5, "support": 3}
    assert scores["tags"]["VB"]["precision"] == pytest.approx(1 / 3)
    assert scores["tags"]["DT"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}


def test_without_unseen_words_there_is_no_figure_for_them() -> None:
    scores = score_tags(["NN"], np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2, bool))
    assert (scores["accuracy"], scores["accuracy_unseen_words"]) == (1.0, None)


def test_a_table_has_the_most_frequent_tags() -> None:
    truth = np.repeat(np.arange(40), np.arange(1, 41))
    names = [str(tag) for tag in range(40)]
    scores = score_tags(names, truth, truth, np.ones(len(truth), bool))
    assert list(scores["tags"]) == [str(tag) for tag in range(39, 9, -1)]
