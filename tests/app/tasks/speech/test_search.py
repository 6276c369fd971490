"""Searches and alignments against all alignments, counted out one by one."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from app.tasks.speech.alignment import align, confidence, words_of
from app.tasks.speech.beam_search import PrefixSearch, SearchSettings, best_path, search
from app.tasks.speech.labels import load_labels
from app.tasks.speech.language_model import END, START, NgramModel


def outputs_of(steps: int, labels: int, seed: int) -> Any:
    logits = 2 * np.random.default_rng(seed).normal(size=(steps, labels))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    merged = [label for at, label in enumerate(path) if at == 0 or path[at - 1] != label]
    return tuple(label for label in merged if label)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_wide_beam_finds_the_most_probable_labels(seed: int, weight: float) -> None:
    outputs = outputs_of(5, 3, seed)
    model = NgramModel([[1, 2], [2, 2, 1], [1]], 3, 3)
    scores: dict[tuple[int, ...], float] = {}
    for path in product(range(3), repeat=5):
        labels = collapse(path)
        scores[labels] = scores.get(labels, 0.0) + float(np.exp(outputs[range(5), path].sum()))

    def score(labels: tuple[int, ...]) -> float:
        context, total = model.start, np.log(scores[labels])
        for label in (*labels, END) if weight else ():
            total += weight * model.log_probabilities(context)[label] + 0.5 * (label != END)
            context = model.extend(context, label)
        return float(total)

    settings = SearchSettings(500, weight, 0.5 * bool(weight))
    assert tuple(search(outputs, settings, model)) == max(scores, key=score)


def test_a_beam_of_one_is_the_best_path() -> None:
    outputs = outputs_of(40, 5, 0)
    assert search(outputs, SearchSettings(1), None) == best_path(outputs)
    assert best_path(np.log(np.full((3, 2), 0.5))) == []


def test_certain_blanks_change_nothing() -> None:
    outputs = outputs_of(6, 3, 1)
    blank = np.log(np.array([[1 - 2e-9, 1e-9, 1e-9]]))
    padded = np.concatenate([blank, outputs, blank, blank])
    settings = SearchSettings(8)
    assert search(padded, settings, None) == search(outputs, settings, None)


def test_a_search_can_be_fed_piece_by_piece() -> None:
    outputs, model = outputs_of(30, 4, 2), NgramModel([[1, 2, 3], [3, 2]], 4, 2)
    settings = SearchSettings(6, 0.5, 0.3)
    prefixes = PrefixSearch(settings, model)
    for start in range(0, 30, 7):
        prefixes.push(outputs[start : start + 7])
    assert prefixes.best() == search(outputs, settings, model)


def test_a_language_model_is_a_distribution_and_knows_its_texts() -> None:
    rows = [[1, 2, 3]] * 9 + [[3, 1]]
    model = NgramModel(rows, 5, 4)
    for context in ((), (START,), (1, 2), (4, 4), (START, 1, 2)):
        assert np.exp(model.log_probabilities(context)).sum() == pytest.approx(1)
    after = model.log_probabilities(model.extend(model.extend(model.start, 1), 2))
    assert int(np.argmax(after)) == 3
    # Witten & Bell: after 1, which two kinds of labels followed in ten cases, nine times 2 and once the end.
    alone = NgramModel(rows, 5, 2)
    unigram = (2 * 0.0 + 10) / 1  # 10 of the 39 unigrams are 1, 9 are 2, 10 are 3, 10 are the end
    assert unigram == 10
    shorter = (9 + 4 * 0.2) / (39 + 4)
    assert np.exp(alone.log_probabilities((1,))[2]) == pytest.approx((9 + 2 * shorter) / (10 + 2))


def test_an_alignment_is_the_best_of_all() -> None:
    for seed in range(5):
        outputs, labels = outputs_of(6, 3, seed), [1, 1, 2]
        paths = [path for path in product(range(3), repeat=6) if collapse(path) == (1, 1, 2)]
        best = max(paths, key=lambda path: outputs[range(6), path].sum())
        starts = [step for step in range(6) if best[step] and (step == 0 or best[step - 1] != best[step])]
        aligned = align(outputs, labels)
        assert [one.start for one in aligned] == starts
        assert [one.label for one in aligned] == labels
    assert align(outputs_of(3, 2, 0), []) == []
    assert len(align(outputs_of(2, 3, 0), [1, 2, 1, 2])) == 4  # which do not fit


def test_words_have_times_in_order() -> None:
    labels = load_labels({"units": (" ", "a", "b"), "tokenizer": None})
    certain = np.full((8, 4), -9.0)
    certain[range(8), [2, 0, 3, 3, 1, 0, 2, 0]] = -0.01
    words = words_of(align(certain, [2, 3, 1, 2]), labels, 0.03, 10.0)
    assert [word["word"] for word in words] == ["ab", "a"]
    assert [(word["start"], word["end"]) for word in words] == [(10.0, 10.12), (10.18, 10.21)]
    assert all(word["confidence"] == pytest.approx(0.99, abs=0.001) for word in words)
    assert confidence([]) is None
