"""The nearest neighbour: labels of readings without a network."""

import numpy as np

from app.tasks.contract import Array, Ints
from app.tasks.shared.ragged import Ragged

STEPS = 64  # of readings that are compared
TOGETHER = 256  # sequences whose distances are in memory
MOST = 5_000  # neighbours that are looked at


def resampled(readings: Ragged, rows: Ints, steps: int) -> Array:
    """Rows as (rows, steps * channels), each stretched to so many steps by straight lines."""
    found = []
    for row in rows.tolist():
        one = readings[row]  # (time, channels)
        place = np.linspace(0, len(one) - 1, steps)
        left = np.floor(place).astype(np.int64)
        right, share = np.minimum(left + 1, len(one) - 1), (place - left)[:, None]
        found.append((one[left] * (1 - share) + one[right] * share).ravel())
    return np.array(found, np.float32)


def nearest(readings: Ragged, labels: Ints, train: Ints, asked: Ints) -> Ints:
    """The label of the nearest training row to each row asked (Euclidean); readings are standardised."""
    train = train[:: -(-len(train) // MOST)]
    steps = int(np.clip(np.median(readings.lengths[train]), 2, STEPS))
    known = resampled(readings, train, steps)  # (train, width)
    square, found = (known**2).sum(axis=1), []
    for start in range(0, len(asked), TOGETHER):
        some = resampled(readings, asked[start : start + TOGETHER], steps)
        found.append(labels[train[(square - 2 * some @ known.T).argmin(axis=1)]])
    return np.concatenate(found)
