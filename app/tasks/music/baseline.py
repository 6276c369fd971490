"""Baseline: an n-gram model that counts events after the four before them, in every key."""

from collections.abc import Callable

import numpy as np

from app.arrays import Array, Ints
from app.tasks.contract import END
from app.tasks.music.codings.pieces import Coding
from app.tasks.shared.ngrams import NGRAM_ORDER, NGramModel

MAX_TRAIN_EVENTS = 6_000_000  # of all keys together


def ngram_nats(coding: Coding, train: Ints, shifts: list[int], held_out: list[Ints]) -> Array:
    """The negative log-likelihood in nats of each event and end of held-out pieces (events,)."""
    return learn_ngrams(coding, train, shifts)(held_out)


def learn_ngrams(coding: Coding, train: Ints, shifts: list[int]) -> Callable[[list[Ints]], Array]:
    """What gives the negative log-likelihood in nats of each event and end of pieces (events,).

    `train` is a stream of events, which is counted in so many of the transpositions `shifts` as there is room
    for. Pieces begin and end with `END`.
    """
    count = max(1, min(len(shifts), MAX_TRAIN_EVENTS // max(len(train), 1)))
    chosen = sorted(shifts, key=abs)[:count]
    counted = np.concatenate([coding.transposed(shift)[train] for shift in chosen])
    lead = np.full(NGRAM_ORDER - 1, END)
    model = NGramModel(np.concatenate([lead, counted]), coding.size)
    end = lead[:1]
    return lambda pieces: np.concatenate(
        [model.nats(np.concatenate([lead, events, end])) for events in pieces]
    )
