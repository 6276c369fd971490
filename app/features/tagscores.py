"""How good tags are: entities by seqeval's rules, or word by word."""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.features.schemes import UNNAMED
from app.features.segments import Segments

Array = npt.NDArray[Any]
Json = dict[str, Any]

SHOWN = 30  # tags in a table, the most frequent ones


def score_entities(types: list[str], truth: Segments, found: Segments, right: Array) -> Json:
    """Entities with the right span and type, by conlleval's and seqeval's rules.

    `types` are named by the segments' kinds; `right` is which tokens have the right tag, (tokens,).
    """
    expected, given = _keyed(truth, len(types)), _keyed(found, len(types))
    same = np.intersect1d(expected, given, assume_unique=True)
    hits, finds, wanted = (
        np.bincount(keys % len(types), minlength=len(types)) for keys in (same, given, expected)
    )
    figures = _figures(len(same), len(given), len(expected))
    return {
        "f1": figures["f1"],
        "precision": figures["precision"],
        "recall": figures["recall"],
        "accuracy": float(right.mean()),
        "entities": figures["support"],
        "types": {
            name or UNNAMED: _figures(int(hits[kind]), int(finds[kind]), int(wanted[kind]))
            for kind, name in enumerate(types)
            if kind and (finds[kind] or wanted[kind])
        },
    }


def _keyed(segments: Segments, types: int) -> Array:
    """A number for each entity, of where it is and its type; modulo `types` it is the type."""
    spans = segments.spans()
    return (spans[:, 0] * (len(segments.kinds) + 1) + spans[:, 1]) * types + spans[:, 2]


def score_tags(names: list[str], truth: Array, found: Array, unseen: Array) -> Json:
    """Words with the right tag, also of those that training has not; tags and `unseen` are (tokens,)."""
    right = truth == found
    size = len(names)
    hits, given, expected = (np.bincount(one, minlength=size) for one in (truth[right], found, truth))
    order = np.argsort(-expected, kind="stable")[:SHOWN].tolist()
    return {
        "accuracy": float(right.mean()),
        "accuracy_unseen_words": float(right[unseen].mean()) if unseen.any() else None,
        "unseen_words": int(unseen.sum()),
        "tags": {
            names[tag]: _figures(int(hits[tag]), int(given[tag]), int(expected[tag]))
            for tag in order
            if expected[tag]
        },
    }


def _figures(right: int, given: int, expected: int) -> Json:
    """Precision, recall and their harmonic mean; 0 where there is nothing to divide by."""
    return {
        "precision": right / given if given else 0.0,
        "recall": right / expected if expected else 0.0,
        "f1": 2 * right / (given + expected) if given + expected else 0.0,
        "support": expected,
    }
