"""An n-gram model of labels, which tells a search which transcripts are likely before it hears anything."""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from app.arrays import Array
from app.tasks.speech.labels import BLANK, load_labels
from app.typedefs import Json

START = -1  # in a context: what stands before a transcript
END = BLANK  # the place of a transcript's end in a distribution, as the blank has no use for it
MAX_CACHED_CONTEXTS = 1 << 17
MAX_CACHED_MODELS = 16
MAX_MODEL_CHARS = 1 << 20  # of transcripts that a model is learned from, evenly taken from all

Context = tuple[int, ...]


class NgramModel:
    """Probabilities of the label that follows, interpolated over all lengths of context.

    Witten & Bell (1991), "The zero-frequency problem", method C: a context that was followed by t different
    labels in c cases leaves t / (c + t) to the context that is one label shorter.
    """

    def __init__(self, rows: Sequence[Sequence[int]], labels: int, order: int) -> None:
        self._order, self._uniform = order, np.full(labels, 1 / labels)
        self._counts: dict[Context, dict[int, int]] = defaultdict(dict)
        for row in rows:
            labels_with_ends = (START, *row, END)
            for position in range(1, len(labels_with_ends)):
                label = labels_with_ends[position]
                for start in range(max(0, position - order + 1), position + 1):
                    followers = self._counts[labels_with_ends[start:position]]
                    followers[label] = followers.get(label, 0) + 1
        self._cache: dict[Context, Array] = {}

    @property
    def start(self) -> Context:
        """The context of a transcript's first label."""
        return self.extend((), START)

    def extend(self, context: Context, label: int) -> Context:
        """The context after one more label."""
        return (*context, label)[-(self._order - 1) :] if self._order > 1 else ()

    def log_probabilities(self, context: Context) -> list[float]:
        """Log-probability of each label after a context (labels,), that of the transcript's end in front."""
        known = self._cache.get(context)
        if known is None:
            if len(self._cache) >= MAX_CACHED_CONTEXTS:
                self._cache.clear()
            known = self._cache[context] = np.log(self._probabilities(context)).tolist()
        return known  # type: ignore[return-value]

    def _probabilities(self, context: Context) -> Array:
        shorter = self._probabilities(context[1:]) if context else self._uniform
        followers = self._counts.get(context)
        if followers is None:
            return shorter
        kinds = len(followers)
        mixed = kinds * shorter
        for label, count in followers.items():
            mixed[label] += count
        normalized: Array = mixed / (kinds + sum(followers.values()))
        return normalized


def training_transcripts(transcripts: Sequence[str]) -> list[str]:
    """The transcripts that a model is learned from: all of them, or evenly taken ones of very many."""
    step = 1 + sum(map(len, transcripts)) // MAX_MODEL_CHARS
    return [text for text in transcripts[::step] if text]


def load_language_model(state: Json) -> NgramModel:
    """The model of the transcripts that a task's state has."""
    labels = state["labels"]
    return _load(tuple(state["transcripts"]), state["ngram"], tuple(labels["units"]), labels["tokenizer"])


@lru_cache(MAX_CACHED_MODELS)
def _load(
    transcripts: tuple[str, ...], order: int, units: tuple[str, ...], tokenizer: str | None
) -> NgramModel:
    labels = load_labels({"units": units, "tokenizer": tokenizer})
    return NgramModel([labels.encode(text) for text in transcripts], labels.count, order)
