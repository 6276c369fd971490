"""The tags of a data set as a network learns them: by number, in the scheme that is best learned."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.features.schemes import PLAIN, SCHEMES, TagSet
from app.features.sentences import Sentences

Array = npt.NDArray[Any]

LEARNED = "bioes"  # the scheme of entities, unless another one is asked for


@dataclass(frozen=True)
class Targets:
    """Tags that training has, and a number of one for each token.

    What training has not cannot be learned: the most frequent tag stands for it, or none of an entity.
    """

    scheme: str
    names: list[str]
    numbers: Array  # (tokens,)
    apart: Array  # (tokens,) whether a token is in no entity with the one before it
    forbidden: list[list[int]]  # which tag never follows which

    @classmethod
    def learn(cls, sentences: Sentences, rows: Array, scheme: str) -> "Targets":
        """From the tags of some sentences; `scheme` is one of the job's options."""
        if sentences.scheme is None or scheme == PLAIN:
            return _of_words(sentences, rows)
        return _of_entities(sentences, rows, LEARNED if scheme == "auto" else scheme)


def _of_words(sentences: Sentences, rows: Array) -> Targets:
    counts = np.bincount(sentences.tags[sentences.taken(rows)], minlength=len(sentences.names))
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    numbers = np.zeros(len(counts), np.int16)
    numbers[order] = np.arange(len(order))
    names = [sentences.names[tag] for tag in order.tolist()]
    return Targets(PLAIN, names, numbers[sentences.tags], np.ones(len(sentences.tags), bool), [])


def _of_entities(sentences: Sentences, rows: Array, scheme: str) -> Targets:
    segments, types = sentences.segments, sentences.tag_set.types
    met = np.unique(segments.kinds[sentences.taken(rows)])
    met = met[met > 0]
    tags = TagSet.full(SCHEMES[scheme], [types[kind] for kind in met.tolist()])
    kinds = np.zeros(len(types), np.int64)
    kinds[met] = np.arange(1, len(met) + 1)  # types are in order in either
    known = segments.mapped(kinds)
    numbers = tags.numbers(known.kinds, known.roles).astype(np.int16)
    apart = known.begins | (known.kinds == 0)
    return Targets(scheme, tags.names, numbers, apart, tags.forbidden())
