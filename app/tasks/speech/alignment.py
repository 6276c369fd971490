"""Where each label of a transcript is in the outputs that it was read from, and how sure the network is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.arrays import Array
from app.tasks.speech.labels import BLANK, LabelSet
from app.typedefs import Json


class AlignedLabel(NamedTuple):
    """A label with its steps, the end exclusive, and the log-probability of its clearest step."""

    label: int
    start: int
    end: int
    log_probability: float


def align(outputs: Array, labels: Sequence[int]) -> list[AlignedLabel]:
    """The most probable alignment of labels with log-probabilities (steps, labels): Viterbi on CTC's graph.

    Labels that do not fit into the steps are all at the last one.
    """
    if not labels:
        return []
    states = np.full(2 * len(labels) + 1, BLANK)
    states[1::2] = labels  # a blank before, between and behind the labels
    emissions = outputs[:, states]  # (steps, states)
    skips = np.full(len(states), -np.inf)  # 0 for states that may follow the one before the last
    skips[3::2][states[3::2] != states[1:-2:2]] = 0.0
    padded = np.full(len(states) + 2, -np.inf)  # no path comes from before the first state
    stay, one, two = padded[2:], padded[1:-1], padded[:-2]
    stay[:2] = emissions[0, :2]
    moves = np.zeros(emissions.shape, np.int8)  # states that the best path advanced by
    for step in range(1, len(emissions)):
        skipped, best = two + skips, np.maximum(stay, one)
        moves[step] = one > stay
        moves[step][skipped > best] = 2
        stay[:] = np.maximum(best, skipped) + emissions[step]
    scores = stay
    state = len(states) - 1 if scores[-1] >= scores[-2] else len(states) - 2
    path = np.zeros(len(emissions), np.int64)
    for step in range(len(emissions) - 1, -1, -1):
        path[step] = state
        state -= int(moves[step, state])
    return [_place(emissions, path, 2 * index + 1, label) for index, label in enumerate(labels)]


def _place(emissions: Array, path: Array, state: int, label: int) -> AlignedLabel:
    steps = np.flatnonzero(path == state)
    if not len(steps):
        steps = np.array([len(emissions) - 1])
    return AlignedLabel(label, int(steps[0]), int(steps[-1]) + 1, float(emissions[steps, state].max()))


def words_of(
    aligned: Sequence[AlignedLabel], labels: LabelSet, step_seconds: float, start_seconds: float
) -> list[Json]:
    """The words of aligned labels with their times in seconds and their confidence.

    A confidence is the geometric mean of the probabilities of a word's labels, each at its clearest step.
    """
    texts = labels.texts()
    groups: list[list[AlignedLabel]] = [[]]
    for one in aligned:
        text = texts[one.label - 1]
        if text[:1].isspace():
            groups.append([])
        if text.strip():
            groups[-1].append(one)
    return [
        {
            "word": labels.decode(one.label for one in group).strip(),
            "start": round(start_seconds + group[0].start * step_seconds, 3),
            "end": round(start_seconds + group[-1].end * step_seconds, 3),
            "confidence": confidence([one.log_probability for one in group]),
        }
        for group in groups
        if group
    ]


def confidence(log_probabilities: Sequence[float]) -> float | None:
    """The geometric mean of probabilities; None of none."""
    if not log_probabilities:
        return None
    return round(min(1.0, math.exp(sum(log_probabilities) / len(log_probabilities))), 4)
