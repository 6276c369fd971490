"""The best path through a chain of tags, exactly (Viterbi 1967), for a whole batch at once."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]


def best(emissions: Floats, lengths: Ints, transitions: Floats | None = None) -> Ints:
    """The best tags (batch, time) of emissions (batch, time, tags); zeros after each row's length.

    Without transitions (tags + 2, tags) each step is by itself; else row i is from tag i, then a row from the
    start, then one to the end. Of equally good tags the first one is taken.
    """
    steps = np.arange(emissions.shape[1])
    real = steps < lengths[:, None]  # (batch, time)
    if transitions is None:
        return np.where(real, emissions.argmax(axis=2), 0)
    return _traced(emissions.astype(np.float64), np.asarray(lengths), transitions.astype(np.float64))


def _traced(emissions: Floats, lengths: Ints, transitions: Floats) -> Ints:
    batch, time, tags = emissions.shape
    between, start, end = transitions[:tags], transitions[tags], transitions[tags + 1]
    from_to = np.ascontiguousarray(between.T)  # (tags to, tags from)
    rows = np.arange(batch)
    scores = start + emissions[:, 0]  # (batch, tags)
    before = np.empty((time, batch, tags), np.int64)  # the best tag before each one
    for step in range(1, time):
        paths = scores[:, None, :] + from_to  # (batch, tags to, tags from)
        before[step] = paths.argmax(axis=2)
        onward = paths.max(axis=2) + emissions[:, step]
        scores = np.where((step < lengths)[:, None], onward, scores)
    tag = (scores + end).argmax(axis=1)  # (batch,)
    found = np.zeros((batch, time), np.int64)
    for step in range(time - 1, -1, -1):
        here = step < lengths  # (batch,)
        found[here, step] = tag[here]
        if step:
            tag = np.where(here, before[step, rows, tag], tag)
    return found
