"""Transcripts without a network: the best constant one, and logistic regression over few known ones."""

from collections import Counter
from collections.abc import Sequence
from importlib import import_module  # only a worker that evaluates pays for the library

import numpy as np

from app.arrays import Array, Ints
from app.tasks.shared.ragged import Ragged
from app.tasks.speech.metrics import error_rates

MAX_CANDIDATES = 40  # transcripts that are tried as the constant answer
MAX_REFERENCES = 400  # training transcripts that they are compared with
MAX_CLASSES = 200  # transcripts that logistic regression tells apart
MIN_COVERED_SHARE = 0.9  # of the training clips that have one of these
SLICES = 16  # of a clip's time
MAX_CLIPS = 20_000  # that are learned from


def constant_transcript(texts: Sequence[str]) -> str:
    """The transcript, one of these, that makes the fewest word errors as the answer to all of them."""
    common = [text for text, _ in Counter(texts).most_common(MAX_CANDIDATES // 2)]
    spread = texts[:: max(1, len(texts) // (MAX_CANDIDATES // 2))]
    references = texts[:: max(1, len(texts) // MAX_REFERENCES)]
    candidates = dict.fromkeys([*common, *spread])
    return min(candidates, key=lambda text: error_rates(references, [text] * len(references))["wer"])


def linear_transcripts(
    frames: Ragged, texts: Sequence[str], train: Ints, requested: Ints
) -> list[str] | None:
    """The transcript of each requested row by logistic regression over time slices of log-mel frames.

    None where the training texts are not a few that repeat: then there are no classes to tell apart.
    """
    rows = [row for row in train.tolist() if frames.lengths[row]]
    counts = Counter(texts[row] for row in rows)
    classes = {text for text, count in counts.items() if count > 1}
    known = [row for row in rows if texts[row] in classes]
    if not 2 <= len(classes) <= MAX_CLASSES or len(known) < MIN_COVERED_SHARE * len(rows):
        return None
    known = known[:: 1 + len(known) // MAX_CLIPS]
    library = import_module("sklearn")
    model = library.pipeline.make_pipeline(
        library.preprocessing.StandardScaler(),
        library.linear_model.LogisticRegression(C=0.01, max_iter=500),
    )
    model.fit(time_slices(frames, known), [texts[row] for row in known])
    return [str(text) for text in model.predict(time_slices(frames, requested.tolist()))]


def time_slices(frames: Ragged, rows: Sequence[int]) -> Array:
    """The mean frame of equal parts of each clip, (rows, slices * bins), and the log of its length."""
    sliced = []
    for row in rows:
        clip = frames[row].astype(np.float32)  # (time, bins)
        edges = np.linspace(0, len(clip), SLICES + 1).astype(np.int64)
        ends = np.maximum(edges[1:], edges[:-1] + 1)
        parts = [
            clip[min(start, len(clip) - 1) : max(end, 1)].mean(axis=0)
            for start, end in zip(edges, ends, strict=False)
        ]
        sliced.append(np.concatenate([*parts, [np.log(len(clip))]]))
    return np.array(sliced, np.float32)
