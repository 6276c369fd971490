"""What is told about a data set of tagged sentences."""

import numpy as np

from app.tasks.contract import Array
from app.tasks.shared import splits
from app.tasks.shared.table_cells import shorten
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.tag_schemes import UNNAMED
from app.tasks.tagging.validation import IOB1
from app.typedefs import Json

TOP = 50  # tags that are named, the most frequent ones
MANY = 0.05  # of the sentences


def describe(found: Sentences, scheme: str) -> "Json":
    """The summary; `scheme` is how the file has its tags, which may be BIO by now."""
    lengths, training = found.tokens.lengths, found.training
    counts = np.bincount(found.tags, minlength=len(found.names))
    return {
        "sentences": len(found),
        "tokens": int(lengths.sum()),
        "train_sentences": int(training.sum()),
        "train_tokens": int(lengths[training].sum()),
        "distinct_words": len(found.words) - 1,
        "tokens_per_sentence": {
            "shortest": int(lengths.min()),
            "median": float(np.median(lengths)),
            "longest": int(lengths.max()),
        },
        "scheme": scheme,
        "distinct_tags": int((counts > 0).sum()),
        "tags": _frequent(found.names, counts),
        "entities": None if found.scheme is None else _entities(found),
        "split": _splits(found.splits),
    }


def _frequent(names: list[str], counts: Array) -> dict[str, int]:
    """The most frequent first."""
    order = np.argsort(-counts, kind="stable")[:TOP].tolist()
    return {names[number]: int(counts[number]) for number in order if counts[number]}


def _entities(found: Sentences) -> dict[str, int]:
    """How many entities of each type there are."""
    types = [kind or UNNAMED for kind in found.tag_set.types]
    counts = np.bincount(found.segments.spans()[:, 2], minlength=len(types))
    return _frequent(types, counts)


def _splits(codes: Array) -> dict[str, int] | None:
    if (codes == splits.OPEN).all():
        return None
    counts = {name: int((codes == code).sum()) for code, name in enumerate(splits.NAMES)}
    counts["train"] += int((codes == splits.OPEN).sum())
    return counts


def warnings_of(found: Sentences, scheme: str, ignored: dict[str, int]) -> list[str]:
    """What may surprise, or spoil the training or the metrics; `ignored` fields with their first lines."""
    told = [
        f"The field {shorten(name)} (first in line {line}) is not used."
        for name, line in sorted(ignored.items())
    ]
    if scheme == IOB1:
        told.append("The tags are IOB1: entities may begin with I. They are learned and answered as BIO.")
    return [*told, *_repeated(found)]


def _repeated(found: Sentences) -> list[str]:
    """Whether a model is tested on sentences that it was trained on."""
    tested = found.splits == splits.TEST
    if not tested.any():
        return []
    training = {found.tokens[int(row)].tobytes() for row in np.flatnonzero(found.training)}
    known = sum(found.tokens[int(row)].tobytes() in training for row in np.flatnonzero(tested))
    if known <= MANY * tested.sum():
        return []
    told = f"{known:,} of {tested.sum():,} sentences of the test split are in the training split too"
    return [f"{told}, which flatters the metrics."]
