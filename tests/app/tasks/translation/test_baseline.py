import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.readers import Mapping, open_source
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.source import Faults
from app.tasks.translation import baseline
from app.tasks.translation.baseline import best_words, learn_lexicon
from app.tasks.translation.metrics import score_translations
from app.tasks.translation.task import TASK
from tests.support.factories.bilingual import ADJECTIVES, NOUNS, VERBS, Pair, sentences
from tests.support.fixtures.real_data import shared


def learned(pairs: Sequence[Pair], rows: Sequence[int] | None = None) -> baseline.Lexicon:
    sources, targets = (Texts.of([pair[side] for pair in pairs]) for side in (0, 1))
    return learn_lexicon(sources, targets, np.arange(len(pairs)) if rows is None else np.array(rows))


def test_a_dictionary_is_learned_from_sentences() -> None:
    words = learned(sentences(300))
    for source, target in {**NOUNS, **ADJECTIVES, **VERBS, "the": "el", "The": "El", ".": "."}.items():
        assert words.translate(source) == target
    assert words.translate("The old dog sees the cat.") == "El viejo perro ve el gato ."
    assert words.pairs == 300


def test_unknown_words_stay() -> None:
    words = learned(sentences(100), range(60))
    assert words.translate("The Unicorn’s cat, ☂") == "El Unicorn’s gato , ☂"
    assert words.translate("") == ""
    assert words.pairs == 60


def test_only_the_training_rows_are_learned_from() -> None:
    pairs = [("dog", "perro")] * 20 + [("dog", "hund")] * 30
    assert learned(pairs).translate("dog") == "hund"
    assert learned(pairs, range(25)).translate("dog") == "perro"


Corpus = list[tuple[list[int], list[int]]]


def by_hand(corpus: Corpus) -> dict[tuple[int, int], float]:
    """IBM model 1 word by word: t(target word | source word), of which word 0 is the empty one."""
    probability: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(baseline.EM_ITERATIONS):
        counts: dict[tuple[int, int], float] = defaultdict(float)
        totals: dict[int, float] = defaultdict(float)
        for source, target in corpus:
            for word in target:
                links = [(explaining, word) for explaining in (0, *source)]
                whole = sum(probability[link] for link in links)
                for link in links:
                    counts[link] += probability[link] / whole
                    totals[link[0]] += probability[link] / whole
        probability = defaultdict(float, {link: count / totals[link[0]] for link, count in counts.items()})
    return probability


def best_of(corpus: Corpus, sizes: tuple[int, int] = (9, 11)) -> list[int]:
    sides = [Ragged.of([np.array(pair[side], np.int32) for pair in corpus], np.int32) for side in (0, 1)]
    best = best_words(sides[0], sides[1], np.arange(len(corpus)), *sizes)
    return [int(word) for word in best]


words = st.lists(st.integers(4, 8), min_size=1, max_size=6)
corpora = st.lists(st.tuples(words, st.lists(st.integers(4, 10), min_size=1, max_size=6)), min_size=1)


@given(corpora)
def test_it_is_model_1(corpus: Corpus) -> None:
    best, probability = best_of(corpus), by_hand(corpus)
    for source, word in enumerate(best):
        known = {link[1]: share for link, share in probability.items() if link[0] == source}
        if not known:
            assert word == 0
        else:
            assert known[word] == pytest.approx(max(known.values()), rel=1e-9)


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    corpus = [
        (rng.integers(4, 40, rng.integers(1, 9)).tolist(), rng.integers(4, 50, rng.integers(1, 9)).tolist())
        for _ in range(200)
    ]
    whole = best_of(corpus, (40, 50))
    for size in (1, 100, 1000):
        monkeypatch.setattr(baseline, "CHUNK_LINKS", size)
        assert best_of(corpus, (40, 50)) == whole


def test_of_equally_likely_words_the_more_frequent_one_is_taken() -> None:
    # Numbers rise with falling frequency.
    assert best_of([([4], [7, 5, 9])])[4] == 5


def test_too_many_pairs_are_thinned_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(f"word{number}", f"palabra{number}") for number in range(100)]
    monkeypatch.setattr(baseline, "MAX_PAIRS", 50)
    words = learned(pairs)
    assert words.pairs == 50
    assert [words.translate(source) == target for source, target in pairs] == [True, False] * 50


def test_too_many_links_are_thinned_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(f"word{number}", f"palabra{number}") for number in range(90)]
    monkeypatch.setattr(baseline, "MAX_LINKS", 60)  # there are 180
    assert learned(pairs).pairs == 30


def test_pairs_of_endless_texts_are_left_out() -> None:
    pairs = [*sentences(50), ("dog " * 3000, "gato " * 3000)]
    words = learned(pairs)
    assert words.pairs == 50
    assert words.translate("dog") == "perro"


def test_nothing_to_learn_from_is_no_fault() -> None:
    assert learned([("a " * 300, "b " * 300)] * 3).translate("a dog") == "a dog"


def test_the_same_pairs_give_the_same_dictionary() -> None:
    one, other = learned(sentences(100)), learned(sentences(100))
    np.testing.assert_array_equal(one.best, other.best)
    assert one.tokenizers == other.tokenizers


@pytest.mark.slow
def test_the_baseline_on_real_pairs() -> None:
    faults = Faults()
    path = shared("translation/bible_en_es.jsonl")
    arrays = TASK.read(open_source(path, "jsonl", Mapping({}), faults), faults).arrays
    sources, targets = Texts.from_arrays(arrays, "source"), Texts.from_arrays(arrays, "target")
    train, test = (np.flatnonzero(arrays["splits"] == code) for code in (0, 2))
    begun = time.process_time()
    words = learn_lexicon(sources, targets, train)
    assert time.process_time() - begun < 60
    assert words.pairs == 27_981
    scores = score_translations([words.translate(line) for line in sources.pick(test)], targets.pick(test))
    assert scores["bleu"] == pytest.approx(12.6, abs=0.3)
    assert scores["chrf"] == pytest.approx(42.9, abs=0.5)
