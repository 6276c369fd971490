"""The best path through a chain of tags, exactly (Viterbi 1967), for a whole batch at once."""

import numpy as np
import numpy.typing as npt

from app.arrays import Ints

Floats = npt.NDArray[np.floating]


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
    """Forwards the best score of a path to each tag, backwards the tags that it came by.

    Which tag was before is looked for along the best path alone: that is far less than for every tag.
    """
    batch, time, tags = emissions.shape
    between, start, end = transitions[:tags], transitions[tags], transitions[tags + 1]
    scores = np.empty((time, batch, tags))
    scores[0] = start + emissions[:, 0]
    for step in range(1, time):
        paths = scores[step - 1][:, :, None] + between  # (batch, tags from, tags to)
        onward = paths.max(axis=1) + emissions[:, step]
        scores[step] = np.where((step < lengths)[:, None], onward, scores[step - 1])
    tag = (scores[-1] + end).argmax(axis=1)  # (batch,)
    best_tags = np.zeros((batch, time), np.int64)
    for step in range(time - 1, -1, -1):
        here = step < lengths  # (batch,)
        best_tags[here, step] = tag[here]
        if step:
            before = (scores[step - 1] + between.T[tag]).argmax(axis=1)  # (batch,)
            tag = np.where(here, before, tag)
    return best_tags
