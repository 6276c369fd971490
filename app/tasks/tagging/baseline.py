"""Tags by counting: each word gets the one that training has most often for it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from app.tasks.contract import Array
from app.tasks.tagging.sentences import Sentences

NEVER = -1
ENDING = 3  # letters


def tally(sentences: Sentences, train: Array, here: Array) -> Array:
    """A tag for each of the tokens `here`, (tokens,), from what some sentences have.

    Words of entities are looked up in lower case. Of other tags a word that training has not gets the most
    frequent one of its ending and case. What is still not found gets the most frequent tag of all.
    """
    words, learned = sentences.tokens.values, sentences.taken(train)
    texts = sentences.words.pick(range(len(sentences.words)))
    chain: list[Callable[[str], Any]] = [str.lower, _any]
    if sentences.scheme is None:
        chain = [str, _ending, _any]
    found = np.full(len(here), NEVER)
    for group in chain:
        groups = _numbered([group(text) for text in texts])
        tags = most_frequent(groups[words[learned]], sentences.tags[learned], len(texts))
        found = np.where(found == NEVER, tags[groups[words[here]]], found)
    return found


def _ending(word: str) -> tuple[str, bool]:
    return word[-ENDING:].lower(), word[:1].isupper()


def _any(word: str) -> None:
    del word


def _numbered(keys: list[Any]) -> Array:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def most_frequent(groups: Array, tags: Array, many: int) -> Array:
    """The most frequent tag of each of `many` groups; of equally frequent ones the first that comes.

    `groups` and `tags` are (tokens,); a group that does not come has `NEVER`.
    """
    width = int(tags.max()) + 1
    keys, firsts, counts = np.unique(
        groups.astype(np.int64) * width + tags, return_index=True, return_counts=True
    )
    order = np.lexsort((firsts, -counts, keys // width))  # group by group, its most frequent tag first
    present, places = np.unique(keys[order] // width, return_index=True)
    found = np.full(many, NEVER)
    found[present] = keys[order][places] % width
    return found
