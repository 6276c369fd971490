"""Texts and readings as sequences that a network reads, by what their training part taught."""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.features import text
from app.features.classifying import Options
from app.features.labelled import TEXT, VALUES
from app.features.ragged import Ragged, Texts
from app.features.splits import Rows
from app.features.text import UNKNOWN

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]
Json = dict[str, Any]

TOGETHER = 10_000  # texts in memory as tokens of the library
SMALL = 1e-6  # a channel's deviation, below which it does not vary


def learn_tokens(arrays: Arrays, rows: Rows, options: Options, state: Json) -> Ragged:
    """All texts as tokens; the vocabulary is that of the training texts, and goes into the state."""
    texts, unit = Texts.from_arrays(arrays, TEXT), text.Unit(options.tokens)
    learned = (texts[int(row)] for row in rows.train)
    state["tokeniser"] = text.learn(learned, unit, options.size, lower=options.lower, least=options.min_count)
    found: list[list[int]] = []
    for start in range(0, len(texts), TOGETHER):
        found += tokens_of(state, texts.pick(range(start, min(start + TOGETHER, len(texts)))))
    return Ragged.of(found, np.int32)


def tokens_of(state: Json, texts: list[str]) -> list[list[int]]:
    """The first tokens of each text; one unknown token of a text without any."""
    return [ids[: state["longest"]] or [UNKNOWN] for ids in text.encode_all(state["tokeniser"], texts)]


def learn_scale(arrays: Arrays, rows: Rows, options: Options, state: Json) -> Ragged:
    """All readings on the scale of the training ones, which goes into the state."""
    readings = Ragged.from_arrays(arrays, VALUES)
    longest = options.longest(VALUES)
    seen = np.concatenate([readings[int(row)][:longest] for row in rows.train]).astype(np.float64)
    spread = seen.std(axis=0)
    state["mean"] = [round(float(value), 9) for value in seen.mean(axis=0)]
    state["scale"] = [round(float(value), 9) if value > SMALL else 1.0 for value in spread]
    return Ragged.of([scaled(readings[row][:longest], state) for row in range(len(readings))], np.float32)


def scaled(readings: Floats, state: Json) -> Floats:
    """Readings (time, channels) with mean 0 and deviation 1 over the training part."""
    found = (readings - np.array(state["mean"])) / np.array(state["scale"])
    limited: Floats = np.clip(found, -1e6, 1e6).astype(np.float32)
    return limited


def weights_of(labels: npt.NDArray[np.int64], state: Json, options: Options) -> Floats:
    """How much an example of each label counts, (labels,); the mean over these examples is 1."""
    asked, names = options.class_weights, state["labels"]
    counts = np.maximum(np.bincount(labels, minlength=len(names)), 1)
    weights = np.ones(len(names))
    if isinstance(asked, dict):
        weights = np.array([asked.get(name, 1.0) for name in names])
    elif asked == "balanced":
        weights = 1.0 / counts
    usual: Floats = (weights / weights[labels].mean()).astype(np.float32)
    return usual
