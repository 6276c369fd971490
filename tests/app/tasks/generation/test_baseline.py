"""The counting model: its probabilities add up to one, and it knows what often follows."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.generation import baseline
from app.tasks.generation.baseline import (
    CODE_POINTS,
    Alphabet,
    SpellingModel,
    score_ngrams,
)
from app.tasks.generation.corpus import CorpusPart
from app.tasks.shared import ngrams
from app.tasks.shared.ngrams import NGRAM_ORDER, NGramModel

TEXTS = st.lists(st.text(st.sampled_from("abc"), min_size=1, max_size=30), min_size=1, max_size=4)


def bits(nats: float, characters: int) -> float:
    return nats / float(np.log(2)) / characters


@given(TEXTS, st.lists(st.integers(0, 4), max_size=8))
def test_what_may_follow_has_a_probability_of_one_in_all(texts: list[str], history: list[int]) -> None:
    alphabet = Alphabet(CorpusPart(texts))
    model = NGramModel(alphabet.encode_part(CorpusPart(texts)), alphabet.size)
    before = [0] * (NGRAM_ORDER - 1) + [min(number, alphabet.size - 1) for number in history]
    streams = [np.array([*before, number]) for number in range(alphabet.size)]
    likely = [np.exp(-model.nats(stream)[-1]) for stream in streams]
    assert sum(likely) == pytest.approx(1)
    assert min(likely) > 0


def test_a_small_text_by_hand() -> None:
    """Witten & Bell from the shortest context on: (count + kinds * shorter) / (all + kinds)."""
    alphabet = Alphabet(CorpusPart(["ab"]))  # a = 1, b = 2, anything else = 3; the stream is 0000 1 2 0
    model = NGramModel(alphabet.encode_part(CorpusPart(["ab"])), alphabet.size)
    alone = (1 + 3 * 1 / 4) / (7 + 3)  # b among five ends, a and b
    expected = alone
    for _ in range(NGRAM_ORDER - 1):  # after a, and after any longer context, b came once
        expected = (1 + expected) / (1 + 1)
    likely = np.exp(-model.nats(alphabet.encode_part(CorpusPart(["ab"]))))
    assert likely[1] == pytest.approx(expected)


def test_a_long_text_is_looked_up_in_slices_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    texts = CorpusPart(["".join(rng.choice(list("abcd "), 200)) for _ in range(3)])
    alphabet = Alphabet(texts)
    model = NGramModel(alphabet.encode_part(texts), alphabet.size)
    other = alphabet.encode_part(CorpusPart(["abcd e" * 30]))
    whole = model.nats(other)
    assert len(whole) == 180 + 1
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr(ngrams, "LOOKUP_SIZE", size)
        np.testing.assert_allclose(model.nats(other), whole)


def test_what_repeats_costs_little_and_noise_costs_its_entropy() -> None:
    rhyme = CorpusPart(["to be or not to be\n" * 200])
    again = score_ngrams(rhyme, rhyme)
    assert again.targets == len(rhyme.texts[0]) + 1
    assert bits(again.nats, again.targets) < 0.3
    rng = np.random.default_rng(1)
    noise = [CorpusPart(["".join(rng.choice(list("abcdefgh"), 20_000))]) for _ in range(2)]
    score = score_ngrams(*noise)
    assert 3.0 < bits(score.nats, score.targets) < 3.6  # three bits, and what learning costs


def test_ends_of_documents_are_predicted_too() -> None:
    short = CorpusPart(["abc"] * 50)
    assert score_ngrams(short, short).targets == 200
    assert score_ngrams(short, CorpusPart(["abc", "ab"], ended=False)).targets == 6
    assert score_ngrams(short, short).nats < score_ngrams(short, CorpusPart(["abcabca" * 20])).nats


def test_an_unseen_character_is_any_of_unicode() -> None:
    train = CorpusPart(["abab" * 100])
    score = score_ngrams(train, CorpusPart(["ab☂ab"]))
    assert score.unseen == 1
    assert score.nats_with_unseen == pytest.approx(score.nats + np.log(CODE_POINTS))
    assert score_ngrams(train, train).unseen == 0


def test_only_the_last_characters_of_a_huge_corpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MAX_TRAIN_CHARS", 400)
    train = CorpusPart(["xyz " * 5000, "ab " * 200])
    assert score_ngrams(train, CorpusPart(["xyz"])).unseen == 3


def test_large_alphabets_and_many_characters_take_seconds() -> None:
    rng = np.random.default_rng(2)
    ranks = np.minimum(rng.zipf(1.2, 400_000), 8000)
    written = "".join(map(chr, (0x4E00 + ranks).tolist()))
    began = time.process_time()
    score = score_ngrams(CorpusPart([written[:380_000]]), CorpusPart([written[380_000:]]))
    assert time.process_time() - began < 20
    assert np.isfinite(score.nats_with_unseen)


def test_spelling_prefers_usual_letters_and_knows_all() -> None:
    spelling = SpellingModel(CorpusPart(["the end of the tale\n" * 20]))
    assert spelling.nats([]) == 0
    assert spelling.nats(["eee"]) < spelling.nats(["ddd"]) < spelling.nats(["☂☂☂"])
    assert spelling.nats(["tea", "e"]) == pytest.approx(spelling.nats(["tea"]) + spelling.nats(["e"]))
    assert spelling.nats(["☂"]) > np.log(CODE_POINTS)
