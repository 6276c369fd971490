"""How tags tell entities: BIO and its relatives, recognised from the tags of a file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array

BEGIN, INSIDE, END, SINGLE = range(4)  # what a token is in an entity; SINGLE is all of it
OUTSIDE = "O"
PLAIN = "plain"  # tags that tell no entities
UNNAMED = "_"  # the type of entities whose tags have none, as seqeval calls it
TYPED = re.compile(r"([BIMELSU])-(.*\S.*)", re.DOTALL)
MOSTLY = 0.5  # of the tokens: with more of such tags beside O the others are mistakes


@dataclass(frozen=True)
class Scheme:
    """The letters of `BEGIN`, `INSIDE`, `END` and `SINGLE`; BIO does not tell where an entity ends."""

    name: str
    letters: str

    @property
    def closed(self) -> bool:
        """Whether the last token of an entity has a letter of its own."""
        return self.letters[END] != self.letters[INSIDE]

    @property
    def distinct(self) -> str:
        """Each letter once."""
        return "".join(dict.fromkeys(self.letters))

    @property
    def places(self) -> Array:
        """The place of each role's letter among the distinct ones, (4,)."""
        return np.array([self.distinct.index(letter) for letter in self.letters])

    def write(self, role: int, kind: str) -> str:
        """The tag of a token in an entity of a type."""
        return f"{self.letters[role]}-{kind}" if kind else self.letters[role]

    def shown(self) -> str:
        """The letters for a message."""
        return f"{', '.join(self.distinct[:-1])} or {self.distinct[-1]}"


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("bio", "BIIB"),
        Scheme("bioes", "BIES"),
        Scheme("bilou", "BILU"),
        Scheme("bmes", "BMES"),
    )
}


@dataclass(frozen=True)
class TagSet:
    """Entity tags by number, taken apart."""

    scheme: Scheme
    names: list[str]
    kinds: Array  # (tags,) the number of the type in `types`, 0 = outside
    roles: Array  # (tags,) 0 where outside
    types: list[str]  # of entities; the first one is outside all, and has no name

    @classmethod
    def parsed(cls, scheme: Scheme, names: Sequence[str]) -> "TagSet":
        """From tags; raises `ValueError` with one that the scheme does not have."""
        parts = [_parse(scheme, name) for name in names]
        types = ["", *sorted({kind for part in parts if part is not None for kind in (part[1],)})]
        numbers = {kind: number for number, kind in enumerate(types) if number}
        kinds = [0 if part is None else numbers[part[1]] for part in parts]
        roles = [0 if part is None else part[0] for part in parts]
        return cls(scheme, list(names), np.array(kinds), np.array(roles), types)

    @classmethod
    def full(cls, scheme: Scheme, types: Iterable[str]) -> "TagSet":
        """O, then all that the scheme has for each type."""
        names = [
            scheme.write(scheme.letters.index(letter), kind)
            for kind in sorted(types)
            for letter in scheme.distinct
        ]
        return cls.parsed(scheme, [OUTSIDE, *names])

    def numbers(self, kinds: Array, roles: Array) -> Array:
        """The tags of tokens, of a full set."""
        width = len(self.scheme.distinct)
        return np.where(kinds > 0, 1 + (kinds - 1) * width + self.scheme.places[roles], 0)

    @property
    def goes_on(self) -> Array:
        """Whether a tag must stand behind another one of its entity, (tags,)."""
        return (self.kinds > 0) & np.isin(self.roles, (INSIDE, END))

    @property
    def open(self) -> Array:
        """Whether one that goes on may stand behind it, (tags,)."""
        return (self.kinds > 0) & np.isin(self.roles, (BEGIN, INSIDE))

    def forbidden(self) -> list[list[int]]:
        """Which tag never follows which; the number of tags stands for the start, and for the end."""
        count = len(self.names)
        joined = (self.kinds[:, None] == self.kinds) & self.open[:, None] & self.goes_on
        never = np.zeros((count + 1, count + 1), bool)  # (from, to)
        never[:count, :count] = self.goes_on & ~joined
        never[count, :count] = self.goes_on
        if self.scheme.closed:
            never[:count, :count] |= self.open[:, None] & ~joined
            never[:count, count] = self.open
        pairs: list[list[int]] = np.argwhere(never).tolist()
        return pairs


def _parse(scheme: Scheme, name: str) -> tuple[int, str] | None:
    """The role and type of a tag; None outside."""
    if name == OUTSIDE:
        return None
    typed = TYPED.fullmatch(name)
    letter, kind = typed.groups() if typed else (name, "")
    if len(letter) != 1 or letter not in scheme.letters:
        raise ValueError(name)
    return scheme.letters.index(letter), kind


def detect(counts: Mapping[str, int]) -> Scheme | None:
    """The scheme of tags that are so frequent; None if they are not of entities.

    Of mistakes among them this may be blind: `wrong_tags` tells them.
    """
    letters: dict[str, int] = {}
    for name, count in counts.items():
        if typed := TYPED.fullmatch(name):
            letters[typed[1]] = letters.get(typed[1], 0) + count
    if not letters:
        return _untyped(counts)
    fitting = sum(letters.values()) + counts.get(OUTSIDE, 0)
    if fitting <= MOSTLY * sum(counts.values()):
        return None
    return _nearest(letters)


def _untyped(counts: Mapping[str, int]) -> Scheme | None:
    """The scheme of tags that are letters alone."""
    letters = {name: count for name, count in counts.items() if name != OUTSIDE}
    if "B" not in letters or len(letters) == 1 or not letters.keys() <= set("BIMELSU"):
        return None
    return _nearest(letters)


def _nearest(letters: Mapping[str, int]) -> Scheme:
    """The simplest scheme of those that explain the most tokens.

    One with a letter for ends is none if most entities that begin never end.
    """
    begun = letters.get(SCHEMES["bio"].letters[BEGIN], 0)
    likely = [
        scheme
        for scheme in SCHEMES.values()
        if not scheme.closed or 2 * letters.get(scheme.letters[END], 0) >= begun
    ]
    return max(
        likely, key=lambda scheme: sum(count for letter, count in letters.items() if letter in scheme.letters)
    )


def wrong_tags(scheme: Scheme, names: Sequence[str]) -> dict[int, str]:
    """Tags that the scheme does not have, by number, with what the others are."""
    typed = any(TYPED.fullmatch(name) for name in names)
    expected = f"O, or {scheme.shown()}" + (" with '-' and a type" if typed else "")
    return {
        number: f"the others are {scheme.name.upper()}: {expected}"
        for number, name in enumerate(names)
        if not _fits(scheme, name, typed=typed)
    }


def _fits(scheme: Scheme, name: str, *, typed: bool) -> bool:
    try:
        part = _parse(scheme, name)
    except ValueError:
        return False
    return part is None or bool(part[1]) == typed
