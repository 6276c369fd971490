from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.tagging.baseline import NEVER, most_frequent, tally
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.tag_schemes import SCHEMES

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=40)


@given(PAIRS)
def test_each_group_has_its_most_frequent_tag(pairs: list[tuple[int, int]]) -> None:
    groups, tags = np.array(pairs).T
    found = most_frequent(groups, tags, 7)
    for group in range(7):
        counts = Counter(tag for one, tag in pairs if one == group)  # the first of equals comes first
        assert found[group] == (counts.most_common(1)[0][0] if counts else NEVER)


def tallied(scheme: str | None, names: list[str], *told: list[tuple[str, int]]) -> list[str]:
    """The tags of the last sentence's words, by counting the others."""
    words = ["", *dict.fromkeys(word for row in told for word, _ in row)]
    found = Sentences(
        Texts.of(words),
        Ragged.of([[words.index(word) for word, _ in row] for row in told], np.int32),
        np.array([tag for row in told for _, tag in row], np.int16),
        names,
        None if scheme is None else SCHEMES[scheme],
        np.zeros(len(told), np.int8),
    )
    last = len(told) - 1
    return [names[tag] for tag in tally(found, np.arange(last), found.taken(np.array([last]))).tolist()]


def test_a_word_gets_its_most_frequent_tag() -> None:
    rows = [[("run", 0), ("run", 1), ("run", 0), ("Run", 1)], [("run", 1), ("Run", 0)]]
    assert tallied(None, ["VB", "NN"], *rows) == ["VB", "NN"]


def test_a_new_word_gets_the_tag_of_its_ending_and_case() -> None:
    rows = [
        [("walking", 0), ("the", 1), ("the", 1), ("the", 1), ("Wyoming", 2)],
        [("talking", 1), ("Ming", 1), ("☂", 0)],
    ]
    assert tallied(None, ["VBG", "DT", "NNP"], *rows) == ["VBG", "NNP", "DT"]


def test_words_of_entities_are_looked_up_in_lower_case() -> None:
    rows = [[("Lima", 1), ("is", 0), ("in", 0)], [("LIMA", 0), ("Oslo", 1)]]
    assert tallied("bio", ["O", "B-loc"], *rows) == ["B-loc", "O"]
