"""How much an example of each label counts in training."""

from collections.abc import Mapping, Sequence

import numpy as np

from app.tasks.arrays import Floats, Ints

BALANCED = "balanced"  # every label has the same total weight


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
