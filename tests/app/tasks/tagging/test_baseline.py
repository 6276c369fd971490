from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.tagging.baseline import most_frequent_tags, predict_by_counting
from app.tasks.tagging.sentences import NO_TAG, Sentences
from app.tasks.tagging.tag_schemes import SCHEMES

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=40)


@given(PAIRS)
def test_each_group_has_its_most_frequent_tag(pairs: list[tuple[int, int]]) -> None:
    groups, tags = np.array(pairs).T
    result = most_frequent_tags(groups, tags, 7)
    for group in range(7):
        counts = Counter(tag for one, tag in pairs if one == group)  # the first of equals comes first
        assert result[group] == (counts.most_common(1)[0][0] if counts else NO_TAG)


def counted_tags(scheme: str | None, names: list[str], *rows: list[tuple[str, int]]) -> list[str]:
    """The tags of the last sentence's words, by counting the others."""
    words = ["", *dict.fromkeys(word for row in rows for word, _ in row)]
    sentences = Sentences(
        Texts.of(words),
        Ragged.of([[words.index(word) for word, _ in row] for row in rows], np.int32),
        np.array([tag for row in rows for _, tag in row], np.int16),
        names,
        None if scheme is None else SCHEMES[scheme],
        np.zeros(len(rows), np.int8),
    )
    last = len(rows) - 1
    tokens = sentences.token_indices(np.array([last]))
    return [names[tag] for tag in predict_by_counting(sentences, np.arange(last), tokens).tolist()]


def test_a_word_gets_its_most_frequent_tag() -> None:
    rows = [[("run", 0), ("run", 1), ("run", 0), ("Run", 1)], [("run", 1), ("Run", 0)]]
    assert counted_tags(None, ["VB", "NN"], *rows) == ["VB", "NN"]


def test_a_new_word_gets_the_tag_of_its_ending_and_case() -> None:
    rows = [
        [("walking", 0), ("the", 1), ("the", 1), ("the", 1), ("Wyoming", 2)],
        [("talking", 1), ("Ming", 1), ("☂", 0)],
    ]
    assert counted_tags(None, ["VBG", "DT", "NNP"], *rows) == ["VBG", "NNP", "DT"]


def test_words_of_entities_are_looked_up_in_lower_case() -> None:
    rows = [[("Lima", 1), ("is", 0), ("in", 0)], [("LIMA", 0), ("Oslo", 1)]]
    assert counted_tags("bio", ["O", "B-loc"], *rows) == ["B-loc", "O"]
