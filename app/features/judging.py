"""Predicted tags of a test split against those of its file, beside what counting makes of it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.features.ragged import offsets_of
from app.features.schemes import PLAIN, SCHEMES, TagSet
from app.features.segments import Segments, firsts_of
from app.features.sentences import Sentences
from app.features.tagscores import score_entities, score_tags
from app.features.tallies import tally

Array = npt.NDArray[Any]
Json = dict[str, Any]


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
