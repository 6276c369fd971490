"""Metrics of translations against references, by sacrebleu (Post 2018)."""

from collections.abc import Sequence
from importlib import import_module  # only a worker that evaluates pays for the library

from app.typedefs import Json


def score_translations(translations: Sequence[str], references: Sequence[str]) -> Json:
    """BLEU and chrF of a whole corpus in percent, their signatures, and the share of exact matches."""
    library = import_module("sacrebleu")
    bleu = library.BLEU(force=True)  # no warning about spaces before full stops
    chrf = library.CHRF()
    score = bleu.corpus_score(list(translations), [list(references)])
    exact = sum(text == reference for text, reference in zip(translations, references, strict=True))
    return {
        "bleu": round(score.score, 4),
        "chrf": round(chrf.corpus_score(list(translations), [list(references)]).score, 4),
        "exact_match": exact / len(references),
        "length_ratio": round(score.sys_len / max(score.ref_len, 1), 4),
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }
