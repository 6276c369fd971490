"""BLEU and chrF from counts that are added up, against sacrebleu on the same corpus."""

import numpy as np
import pytest
import sacrebleu

from app.tasks.translation.evaluation import bleu_scores, character_counts, chrf_scores

PAIRS = [
    ("the red cat sees the dog .", "the red cat sees a dog ."),
    ("a house", "the old house by the sea"),
    ("", "nothing"),
    ("completely other words here now", "the wind blows in the night"),
    ("x", "x"),
]


@pytest.mark.parametrize("rows", [[0], [1], [3], [4], [0, 1], [1, 3, 2], [0, 1, 2, 3, 4]])
def test_sums_of_counts_are_the_scores_of_a_corpus(rows: list[int]) -> None:
    texts, references = [PAIRS[row][0] for row in rows], [PAIRS[row][1] for row in rows]
    bleu, chrf = sacrebleu.BLEU(force=True), sacrebleu.CHRF()
    counts = np.zeros((1, 10))
    for text, reference in zip(texts, references, strict=True):
        score = bleu.corpus_score([text], [[reference]])
        counts += [*score.counts, *score.totals, score.sys_len, score.ref_len]
    expected = bleu.corpus_score(texts, [references]).score
    assert bleu_scores(counts)[0] == pytest.approx(expected, abs=1e-6)
    characters = np.sum([character_counts(*PAIRS[row]) for row in rows], axis=0)[None]
    assert chrf_scores(characters)[0] == pytest.approx(chrf.corpus_score(texts, [references]).score, abs=1e-6)
