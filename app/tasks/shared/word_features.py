"""What a network reads of a word beside the word itself: a table of columns, then its characters."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

LINK = re.compile(r"(?:https?://|www\.)\S", re.IGNORECASE)
NAME = re.compile(r"@\w")
DIGIT = re.compile(r"\d")
RUN = re.compile(r"(.)\1{2,}", re.DOTALL)
SPACE = re.compile(r"\s+")
SHAPED = 16  # characters that a shape is taken of
SHAPE = 8  # characters of a shape


def tidy(word: str) -> str:
    """A word in normal form (NFC); space within it is one space."""
    return unicodedata.normalize("NFC", SPACE.sub(" ", word.strip()))


def known_as(word: str, *, lower: bool) -> str:
    """What a word is looked up as: any digit is 0, links and names of users are all alike."""
    if LINK.match(word):
        return "⟨link⟩"
    if NAME.match(word):
        return "⟨user⟩"
    return DIGIT.sub("0", word.lower() if lower else word)


def shape(word: str) -> str:
    """Its kinds of signs in order, of which no more than two alike: `McDonald's` is `XxXxx'x`."""
    if LINK.match(word):
        return "⟨link⟩"
    kinds = "".join(_kind(sign) for sign in word[:SHAPED])
    return RUN.sub(r"\1\1", kinds)[:SHAPE]


def _kind(sign: str) -> str:
    if sign.isdigit():
        return "0"
    if sign.isalpha():
        return "X" if sign.isupper() else "x"
    return sign if sign.isascii() else "?"


@dataclass(frozen=True)
class Column:
    """Something that words have in common."""

    name: str
    of: Callable[[str], str]  # a tidy word
    least: int  # how often training must see it for it to be known


COLUMNS = (
    Column("shape", shape, 3),
    Column("prefix2", lambda word: word[:2].lower(), 3),
    Column("prefix3", lambda word: word[:3].lower(), 3),
    Column("suffix2", lambda word: word[-2:].lower(), 3),
    Column("suffix3", lambda word: word[-3:].lower(), 3),
)


def ends(word: str, length: int) -> str:
    """The characters of a word that are read: of a longer one the first and the last."""
    if len(word) <= length:
        return word
    last = length // 2
    return word[: length - last] + word[len(word) - last :]
