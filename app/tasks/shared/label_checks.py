"""Whether the labels of a data set can be told apart, and learned from what is for training."""

from collections import Counter
from collections.abc import Sequence

from app.tasks.shared.splits import TEST, TRAINING_CODES, VALID
from app.tasks.shared.table_cells import shorten

MAX_LABELS = 1_000
MAX_LABELS_SHOWN = 100  # in a summary
MAX_UNLEARNABLE_SHOWN = 5  # labels
MIN_DRAWN_EXAMPLES = 3  # of a label: a drawn validation and test split takes two at most


def untrainable_labels(labels: Sequence[str], codes: Sequence[int], noun: str) -> str | None:
    """Why labelled examples cannot be trained on, if so: no labels to tell apart, or too few examples.

    Of each example its label and the code of its split; `noun` is what one is called, such as "clip".
    """
    counts = Counter(labels)
    trainable = Counter(label for label, code in zip(labels, codes, strict=True) if code in TRAINING_CODES)
    min_examples = 1 if {VALID, TEST} <= set(codes) else MIN_DRAWN_EXAMPLES
    if len(counts) < 2:
        return f"Every {noun} has the label {shorten(labels[0])}: no labels can be told apart."
    if len(counts) > MAX_LABELS:
        return f"There are {len(counts):,} labels; at most {MAX_LABELS:,} can be told apart."
    if len(trainable) < 2:
        return f"The {noun}s for training have fewer than two labels."
    if len(labels) < 2 * len(counts) + 4:
        return f"{len(labels)} {noun}s are too few for {len(counts)} labels."
    if sum(count >= min_examples for count in trainable.values()) < 2:
        return f"Fewer than two labels have {min_examples} {noun}s: some may be held out of the training."
    return None


def unlearnable_warnings(held_out: Sequence[str], noun: str) -> list[str]:
    """A warning that names labels only held-out examples have; none if there are none."""
    if not held_out:
        return []
    named = ", ".join(shorten(label) for label in held_out[:MAX_UNLEARNABLE_SHOWN])
    more = (
        f" and {len(held_out) - MAX_UNLEARNABLE_SHOWN} more" if len(held_out) > MAX_UNLEARNABLE_SHOWN else ""
    )
    return [
        f"No {noun} for training has the label {named}{more}: it is never predicted, and counts as wrong."
    ]
