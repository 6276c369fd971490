"""Features of a word beside the word itself: its shape and affixes, and the characters that are read."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

LINK_PATTERN = re.compile(r"(?:https?://|www\.)\S", re.IGNORECASE)
USER_PATTERN = re.compile(r"@\w")
DIGIT_PATTERN = re.compile(r"\d")
REPEAT_PATTERN = re.compile(r"(.)\1{2,}", re.DOTALL)
SPACE_PATTERN = re.compile(r"\s+")
LINK_KEY, USER_KEY = "⟨link⟩", "⟨user⟩"
MAX_SHAPED_CHARS = 16  # of a word, that its shape is made of
MAX_SHAPE_CHARS = 8


def normalize_word(word: str) -> str:
    """The word in normal form (NFC); space within it is one space."""
    return unicodedata.normalize("NFC", SPACE_PATTERN.sub(" ", word.strip()))


def lookup_key(word: str, *, lower: bool) -> str:
    """The text by which a vocabulary has a word: digits are 0, links and names of users are all alike."""
    if LINK_PATTERN.match(word):
        return LINK_KEY
    if USER_PATTERN.match(word):
        return USER_KEY
    return DIGIT_PATTERN.sub("0", word.lower() if lower else word)


def word_shape(word: str) -> str:
    """The kinds of a word's signs in order, no more than two alike in a row: `McDonald's` is `XxXxx'x`."""
    if LINK_PATTERN.match(word):
        return LINK_KEY
    kinds = "".join(_sign_kind(sign) for sign in word[:MAX_SHAPED_CHARS])
    return REPEAT_PATTERN.sub(r"\1\1", kinds)[:MAX_SHAPE_CHARS]


def _sign_kind(sign: str) -> str:
    if sign.isdigit():
        return "0"
    if sign.isalpha():
        return "X" if sign.isupper() else "x"
    return sign if sign.isascii() else "?"


@dataclass(frozen=True)
class WordFeature:
    """A property that words can have in common."""

    name: str
    extract: Callable[[str], str]  # its value for a normalized word
    min_count: int  # how often a value must occur in training to be known


WORD_FEATURES = (
    WordFeature("shape", word_shape, 3),
    WordFeature("prefix2", lambda word: word[:2].lower(), 3),
    WordFeature("prefix3", lambda word: word[:3].lower(), 3),
    WordFeature("suffix2", lambda word: word[-2:].lower(), 3),
    WordFeature("suffix3", lambda word: word[-3:].lower(), 3),
)


def clip_word(word: str, max_chars: int) -> str:
    """The characters of a word that are read: the first and last ones if it is longer than `max_chars`."""
    if len(word) <= max_chars:
        return word
    last = max_chars // 2
    return word[: max_chars - last] + word[len(word) - last :]
