"""Labels of CTC outputs: the best of each step, or a search over prefixes with a language model."""

import math
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from app.arrays import Array
from app.tasks.speech.labels import BLANK
from app.tasks.speech.language_model import END, Context, NgramModel

MIN_LABEL_LOG = -7.0  # log-probability of a label that a step is searched for
CERTAIN_BLANK_LOG = -1e-3  # from which on a step is a blank and nothing else
NEVER = -math.inf


@dataclass(frozen=True)
class SearchSettings:
    """How to search: hypotheses that are kept, and what the language model and each label count for."""

    beam_size: int
    weight: float = 0.0  # of the language model's log-probabilities
    bonus: float = 0.0  # of each label, against the language model's liking for short texts


def best_path(outputs: Array) -> list[int]:
    """The best label of each step of log-probabilities (steps, labels): repeats merged, without blanks."""
    return [label for label, _ in groupby(outputs.argmax(axis=1).tolist()) if label != BLANK]


class Prefix:
    """A hypothesis: labels that all alignments with them have written so far."""

    __slots__ = ("children", "context", "extra", "label", "new_blank", "new_label", "parent", "with_blank",
                 "with_label")  # fmt: skip

    def __init__(self, parent: "Prefix | None", label: int, context: Context, extra: float) -> None:
        self.parent, self.label, self.context = parent, label, context
        self.extra = extra  # what the language model adds to its score
        self.with_blank = self.with_label = NEVER  # log-probability of the alignments, by their last step
        self.new_blank = self.new_label = NEVER
        self.children: dict[int, Prefix] = {}

    @property
    def score(self) -> float:
        """The log-probability of all its alignments, with the language model's part."""
        return add_logs(self.with_blank, self.with_label) + self.extra

    def labels(self) -> list[int]:
        """Its labels from first to last."""
        labels, prefix = [], self
        while prefix.parent is not None:
            labels.append(prefix.label)
            prefix = prefix.parent
        return labels[::-1]


def add_logs(one: float, other: float) -> float:
    """The logarithm of the sum of two numbers given by their logarithms."""
    if one < other:
        one, other = other, one
    return one if other == NEVER else one + math.log1p(math.exp(other - one))


class PrefixSearch:
    """Prefix beam search (Graves et al. 2006; with a language model Hannun et al. 2014, 1408.2873)."""

    def __init__(self, settings: SearchSettings, model: NgramModel | None) -> None:
        self._settings, self._model = settings, model if settings.weight else None
        start = () if self._model is None else self._model.start
        root = Prefix(None, BLANK, start, 0.0)
        root.with_blank = 0.0
        self._beam = [root]

    def push(self, outputs: Array) -> None:
        """Read some more steps of log-probabilities (steps, labels)."""
        keep = (outputs > MIN_LABEL_LOG) | (outputs >= outputs.max(axis=1, keepdims=True))
        keep[:, BLANK] = False
        for row, kept in zip(outputs, keep, strict=True):
            blank = float(row[BLANK])
            if blank > CERTAIN_BLANK_LOG:
                for prefix in self._beam:
                    prefix.with_blank = add_logs(prefix.with_blank, prefix.with_label) + blank
                    prefix.with_label = NEVER
            else:
                self._step(row.tolist(), np.flatnonzero(kept).tolist(), blank)

    def _step(self, row: list[float], candidates: list[int], blank: float) -> None:
        touched: list[Prefix] = []
        for prefix in self._beam:
            total = add_logs(prefix.with_blank, prefix.with_label)
            if prefix.new_blank == NEVER and prefix.new_label == NEVER:
                touched.append(prefix)
            prefix.new_blank = total + blank
            if prefix.with_label != NEVER:
                prefix.new_label = add_logs(prefix.new_label, prefix.with_label + row[prefix.label])
            for label in candidates:
                # An equal label is a new one only behind a blank.
                before = prefix.with_blank if label == prefix.label else total
                if before == NEVER:
                    continue
                child = prefix.children.get(label) or self._extend(prefix, label)
                if child.new_blank == NEVER and child.new_label == NEVER:
                    touched.append(child)
                child.new_label = add_logs(child.new_label, before + row[label])
        for prefix in self._beam:
            prefix.with_blank = prefix.with_label = NEVER
        for prefix in touched:
            prefix.with_blank, prefix.with_label = prefix.new_blank, prefix.new_label
            prefix.new_blank = prefix.new_label = NEVER
        touched.sort(key=lambda prefix: prefix.score, reverse=True)
        for prefix in touched[self._settings.beam_size :]:
            prefix.with_blank = prefix.with_label = NEVER
        self._beam = touched[: self._settings.beam_size]

    def _extend(self, prefix: Prefix, label: int) -> Prefix:
        extra, context = prefix.extra, prefix.context
        if self._model is not None:
            likely = self._model.log_probabilities(context)[label]
            extra += self._settings.weight * likely + self._settings.bonus
            context = self._model.extend(context, label)
        child = prefix.children[label] = Prefix(prefix, label, context, extra)
        return child

    def best(self, *, ended: bool = True) -> list[int]:
        """The labels of the best hypothesis; where the audio has `ended`, the text must be able to end."""

        def final(prefix: Prefix) -> float:
            if self._model is None or not ended:
                return prefix.score
            return prefix.score + self._settings.weight * self._model.log_probabilities(prefix.context)[END]

        return max(self._beam, key=final).labels()


def search(outputs: Array, settings: SearchSettings, model: NgramModel | None) -> list[int]:
    """The labels of log-probabilities (steps, labels); with a beam of 1 those of the best path."""
    if settings.beam_size == 1:
        return best_path(outputs)
    prefixes = PrefixSearch(settings, model)
    prefixes.push(outputs)
    return prefixes.best()
