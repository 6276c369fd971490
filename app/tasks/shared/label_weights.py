"""Options of a job that learns labels, and how much an example of each label counts in training."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from app.arrays import Floats, Ints
from app.errors import Problem, pointer
from app.typedefs import Json

BALANCED = "balanced"  # every label has the same total weight
MAX_LISTED_LABELS = 1 << 16

ClassWeights = Annotated[
    Literal["none", "balanced"]
    | Annotated[dict[str, Annotated[float, Field(gt=0, le=1e6)]], Field(max_length=MAX_LISTED_LABELS)],
    Field(
        description="Weight of an example in training: balanced gives every label the same total weight; "
        "or a weight for each label, 1 for labels that are not listed."
    ),
]
Calibrate = Annotated[
    bool,
    Field(description="Calibrate probabilities with a temperature fitted on the validation split."),
]


def class_weight_problems(requested: str | Mapping[str, float], summary: Json) -> list[Problem]:
    """The problems of `class_weights` that name labels which no example of a data set has."""
    all_listed = len(summary["labels"]) == summary["classes"]  # a summary lists the most frequent labels
    if isinstance(requested, str) or not all_listed:
        return []
    return [
        Problem(pointer("options", "class_weights", label), "no example has this label")
        for label in requested
        if label not in summary["labels"]
    ]


def label_weights(labels: Ints, names: Sequence[str], requested: str | Mapping[str, float]) -> Floats:
    """The training weight of an example of each label, (labels,); its mean over these examples is 1.

    Requested are equal weights, `BALANCED` ones, or a weight for some names and 1 for the others. `labels`
    (examples,) are those of the training examples.
    """
    weights = np.ones(len(names))
    if isinstance(requested, Mapping):
        weights = np.array([requested.get(name, 1.0) for name in names])
    elif requested == BALANCED:
        weights = 1.0 / np.maximum(np.bincount(labels, minlength=len(names)), 1)
    normalized: Floats = (weights / weights[labels].mean()).astype(np.float32)
    return normalized
