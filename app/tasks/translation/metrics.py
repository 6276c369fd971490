"""How near translations are to those of people, by sacrebleu (Post 2018): only workers have it."""

from collections.abc import Sequence
from importlib import import_module  # only a worker that scores pays for the library

from app.typedefs import Json


def compare(translations: Sequence[str], references: Sequence[str]) -> Json:
    """BLEU and chrF of a whole corpus in percent, the share that is just the same, and how it was counted."""
    library = import_module("sacrebleu")

    bleu, chrf = (
        library.BLEU(force=True),
        library.CHRF(),
    )  # `force`: no complaint about spaces before full stops
    found = bleu.corpus_score(list(translations), [list(references)])
    same = sum(one == other for one, other in zip(translations, references, strict=True))
    return {
        "bleu": round(found.score, 4),
        "chrf": round(chrf.corpus_score(list(translations), [list(references)]).score, 4),
        "exact_match": same / len(references),
        "length_ratio": round(found.sys_len / max(found.ref_len, 1), 4),
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }
