"""A baseline without a network: each word gets the tag that training has most often for it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from app.arrays import Array
from app.tasks.tagging.sentences import NO_TAG, Sentences

SUFFIX_CHARS = 3


def predict_by_counting(sentences: Sentences, train: Array, tokens: Array) -> Array:
    """A tag for each of the tokens with these indices, (tokens,), from the tags of the sentences `train`.

    Words of entities are looked up in lower case. For other tags, a word that is not in the training split
    gets the most frequent tag of its suffix and case. Where this fails too, it is the most frequent of all.
    """
    words, train_tokens = sentences.tokens.values, sentences.token_indices(train)
    texts = sentences.words.pick(range(len(sentences.words)))
    keys: list[Callable[[str], Any]] = [str.lower, _same_key]
    if sentences.scheme is None:
        keys = [str, _suffix_and_case, _same_key]
    predicted = np.full(len(tokens), NO_TAG)
    for key in keys:
        groups = _number_groups([key(text) for text in texts])
        tags = most_frequent_tags(groups[words[train_tokens]], sentences.tags[train_tokens], len(texts))
        predicted = np.where(predicted == NO_TAG, tags[groups[words[tokens]]], predicted)
    return predicted


def _suffix_and_case(word: str) -> tuple[str, bool]:
    return word[-SUFFIX_CHARS:].lower(), word[:1].isupper()


def _same_key(word: str) -> None:
    """The same for all words."""
    del word


def _number_groups(keys: list[Any]) -> Array:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def most_frequent_tags(groups: Array, tags: Array, group_count: int) -> Array:
    """The most frequent tag of each group, (group_count,); of equally frequent ones the first to occur.

    `groups` and `tags` are (tokens,); a group without a token has `NO_TAG`.
    """
    width = int(tags.max()) + 1
    keys, firsts, counts = np.unique(
        groups.astype(np.int64) * width + tags, return_index=True, return_counts=True
    )
    order = np.lexsort((firsts, -counts, keys // width))  # group by group, its most frequent tag first
    present, starts = np.unique(keys[order] // width, return_index=True)
    result = np.full(group_count, NO_TAG)
    result[present] = keys[order][starts] % width
    return result
