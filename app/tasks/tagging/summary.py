"""The summary of a data set of tagged sentences, its preview, and its warnings."""

import numpy as np

from app.arrays import Array
from app.tasks.preview import PreviewRows, RowBounds, SplitPreviewRow, shown_steps
from app.tasks.shared import splits
from app.tasks.shared.label_checks import unlearnable_warnings
from app.tasks.shared.table_cells import shorten
from app.tasks.tagging.sentences import NO_TAG, Sentences
from app.tasks.tagging.tag_schemes import UNNAMED_TYPE
from app.tasks.tagging.validation import IOB1
from app.typedefs import Json

MAX_TAGS_LISTED = 50  # the most frequent ones
MAX_REPEATED_SHARE = 0.05  # of the test sentences: with more of them in the training split there is a warning


class TaggingPreviewRow(SplitPreviewRow):
    """The first tokens of a sentence, of which `length` counts all, with their tags if it has some."""

    tokens: list[str]
    tags: list[str] | None
    length: int


def preview_sentences(sentences: Sentences, bounds: RowBounds) -> PreviewRows:
    """The sentences with tags as they are learned: those of entities all in one scheme."""

    def row(index: int) -> Json:
        words, start = sentences.tokens[index], int(sentences.tokens.offsets[index])
        count = shown_steps(len(words), 1, bounds)
        tags = sentences.tags[start : start + count].tolist()
        return {
            "tokens": sentences.words.pick(words[:count]),
            "tags": [sentences.tag_names[tag] for tag in tags] if sentences.tag_names else None,
            "length": len(words),
            "split": splits.split_name(int(sentences.splits[index])),
            "truncated": count < len(words),
        }

    return PreviewRows(len(sentences), row)


def summarize(sentences: Sentences, file_scheme: str) -> "Json":
    """Counts of sentences, words, tags and entities; `file_scheme` is that of the file, such as IOB1."""
    lengths, is_trainable = sentences.tokens.lengths, sentences.is_trainable
    counts = np.bincount(sentences.tags[sentences.tags != NO_TAG], minlength=len(sentences.tag_names))
    return {
        "sentences": len(sentences),
        "tokens": int(lengths.sum()),
        "train_sentences": int(is_trainable.sum()),
        "train_tokens": int(lengths[is_trainable].sum()),
        "distinct_words": len(sentences.words) - 1,
        "tokens_per_sentence": {
            "shortest": int(lengths.min()),
            "median": float(np.median(lengths)),
            "longest": int(lengths.max()),
        },
        "scheme": file_scheme,
        "distinct_tags": int((counts > 0).sum()),
        "tags": _most_frequent(sentences.tag_names, counts),
        "entities": None if sentences.scheme is None else _count_entities(sentences),
        "split": _count_splits(sentences.splits),
    }


def _most_frequent(names: list[str], counts: Array) -> dict[str, int]:
    """Names with their counts, the most frequent first."""
    order = np.argsort(-counts, kind="stable")[:MAX_TAGS_LISTED].tolist()
    return {names[number]: int(counts[number]) for number in order if counts[number]}


def _count_entities(sentences: Sentences) -> dict[str, int]:
    """The number of entities of each type."""
    types = [name or UNNAMED_TYPE for name in sentences.tag_set.types]
    counts = np.bincount(sentences.entities.spans()[:, 2], minlength=len(types))
    return _most_frequent(types, counts)


def _count_splits(codes: Array) -> dict[str, int] | None:
    """The number of sentences in each split; None if the file names no splits."""
    if (codes == splits.UNASSIGNED).all():
        return None
    counts = {name: int((codes == code).sum()) for code, name in enumerate(splits.SPLIT_NAMES)}
    counts["train"] += int((codes == splits.UNASSIGNED).sum())
    return counts


def dataset_warnings(
    sentences: Sentences, file_scheme: str, ignored: dict[str, int], *, is_trainable: bool
) -> list[str]:
    """Warnings of unused fields (`ignored`, with their first lines), IOB1 and repeated sentences."""
    warnings = [
        f"The field {shorten(name)} (first in line {line}) is not used."
        for name, line in sorted(ignored.items())
    ]
    if file_scheme == IOB1:
        warnings.append("The tags are IOB1: entities may begin with I. They are learned and answered as BIO.")
    if is_trainable:
        warnings += [*_warn_of_unlearnable(sentences), *_warn_of_repeated(sentences)]
    return warnings


def _warn_of_unlearnable(sentences: Sentences) -> list[str]:
    """A warning of tags that only tokens outside the training have."""
    owners = np.repeat(sentences.is_trainable, sentences.tokens.lengths)  # (tokens,)
    used = np.unique(sentences.tags[owners])
    held_out = np.setdiff1d(sentences.tags, used)
    names = [sentences.tag_names[tag] for tag in held_out.tolist() if tag != NO_TAG]
    return unlearnable_warnings(names, "token")


def _warn_of_repeated(sentences: Sentences) -> list[str]:
    """A warning if too many sentences of the test split are in the training split too."""
    is_test = sentences.splits == splits.TEST
    if not is_test.any():
        return []
    training = {sentences.tokens[int(row)].tobytes() for row in np.flatnonzero(sentences.is_trainable)}
    repeated = sum(sentences.tokens[int(row)].tobytes() in training for row in np.flatnonzero(is_test))
    if repeated <= MAX_REPEATED_SHARE * is_test.sum():
        return []
    subject = f"{repeated:,} of {is_test.sum():,} sentences of the test split"
    return [f"{subject} are in the training split too, which flatters the metrics."]
