"""How good tags are: entities by seqeval's rules, or word by word."""

import numpy as np

from app.tasks.contract import Array
from app.tasks.shared.ragged import offsets_of
from app.tasks.tagging.baseline import tally
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.spans import Segments, firsts_of
from app.tasks.tagging.tag_schemes import PLAIN, SCHEMES, UNNAMED, TagSet
from app.typedefs import Json


def judge(state: Json, sentences: Sentences, rows: Array, train: Array, found: Array) -> tuple[Json, Json]:
    """Metrics of tags (tokens,) found for some sentences, and of a baseline that counts those of training."""
    counted = tally(sentences, train, sentences.taken(rows))
    if state["scheme"] == PLAIN:
        return _words(state, sentences, rows, train, found, counted)
    return _entities(state, sentences, rows, found, counted)


def _words(
    state: Json, sentences: Sentences, rows: Array, train: Array, found: Array, counted: Array
) -> tuple[Json, Json]:
    here, words = sentences.taken(rows), sentences.tokens.values
    numbers = {name: number for number, name in enumerate(sentences.names)}
    ours = np.array([numbers[name] for name in state["tags"]])[found]
    truth, unseen = sentences.tags[here], ~np.isin(words[here], words[sentences.taken(train)])
    metrics, baseline = (score_tags(sentences.names, truth, one, unseen) for one in (ours, counted))
    return metrics, baseline


def _entities(
    state: Json, sentences: Sentences, rows: Array, found: Array, counted: Array
) -> tuple[Json, Json]:
    here, theirs, whole = sentences.taken(rows), sentences.tag_set, sentences.segments
    truth = Segments(whole.kinds[here], whole.begins[here], whole.ends[here])
    firsts = firsts_of(offsets_of(sentences.tokens.lengths[rows]))
    tags = TagSet.parsed(SCHEMES[state["scheme"]], state["tags"])
    kinds = np.array([0, *(theirs.types.index(kind, 1) for kind in tags.types[1:])])
    ours = Segments.read(tags, found, firsts).mapped(kinds)
    letters = theirs.scheme.places
    right = (ours.kinds == truth.kinds) & ((truth.kinds == 0) | (letters[ours.roles] == letters[truth.roles]))
    baseline = Segments.read(theirs, counted, firsts)
    return (
        score_entities(theirs.types, truth, ours, right),
        score_entities(theirs.types, truth, baseline, counted == sentences.tags[here]),
    )


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
