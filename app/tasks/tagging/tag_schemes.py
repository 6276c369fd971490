"""Schemes in which tags mark entities (BIO and its relatives), recognised from the tags of a file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from app.arrays import Array

OUTSIDE_TAG = "O"
PLAIN = "plain"  # the name of the scheme of tags that mark no entities, such as parts of speech
UNNAMED_TYPE = "_"  # the type of entities whose tags have none, as seqeval calls it
TYPED_TAG = re.compile(r"([BIMELSU])-(.*\S.*)", re.DOTALL)
MIN_ENTITY_SHARE = 0.5  # of the tokens: if more of them have entity tags or O, the other tags are mistakes


class TokenRole(IntEnum):
    """The position of a token in its entity; SINGLE: it is the only one."""

    BEGIN = 0
    INSIDE = 1
    END = 2
    SINGLE = 3


@dataclass(frozen=True)
class TagScheme:
    """The letter of each `TokenRole`; in BIO, INSIDE and END share one, as do BEGIN and SINGLE."""

    name: str
    letters: str

    @property
    def has_end_letter(self) -> bool:
        """Whether the last token of an entity has a letter of its own."""
        return self.letters[TokenRole.END] != self.letters[TokenRole.INSIDE]

    @property
    def distinct_letters(self) -> str:
        """Each letter once, in the order of the roles."""
        return "".join(dict.fromkeys(self.letters))

    @property
    def letter_indices(self) -> Array:
        """The index of each role's letter in `distinct_letters`, (4,)."""
        return np.array([self.distinct_letters.index(letter) for letter in self.letters])

    def tag(self, role: int, entity_type: str) -> str:
        """The tag of a token with this role in an entity of this type; "" is a type without a name."""
        return f"{self.letters[role]}-{entity_type}" if entity_type else self.letters[role]

    def describe_letters(self) -> str:
        """The letters as a phrase for a message."""
        return f"{', '.join(self.distinct_letters[:-1])} or {self.distinct_letters[-1]}"


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        TagScheme("bio", "BIIB"),
        TagScheme("bioes", "BIES"),
        TagScheme("bilou", "BILU"),
        TagScheme("bmes", "BMES"),
    )
}


@dataclass(frozen=True)
class TagSet:
    """Numbered entity tags with the entity type and the role that each of them stands for."""

    scheme: TagScheme
    names: list[str]
    type_ids: Array  # (tags,) index into `types`, 0 = outside of entities
    roles: Array  # (tags,) a `TokenRole`; 0 where outside
    types: list[str]  # of entities; the first one stands for outside and has no name

    @classmethod
    def parse(cls, scheme: TagScheme, names: Sequence[str]) -> "TagSet":
        """From tags in this order; raises `ValueError` with the first tag that the scheme does not have."""
        parsed = [_parse_tag(scheme, name) for name in names]
        types = ["", *sorted({entity_type for _, entity_type in filter(None, parsed)})]
        numbers = {entity_type: number for number, entity_type in enumerate(types) if number}
        type_ids = [0 if part is None else numbers[part[1]] for part in parsed]
        roles = [0 if part is None else part[0] for part in parsed]
        return cls(scheme, list(names), np.array(type_ids), np.array(roles), types)

    @classmethod
    def complete(cls, scheme: TagScheme, types: Iterable[str]) -> "TagSet":
        """O, then every tag that the scheme has for each type; types are sorted."""
        names = [
            scheme.tag(scheme.letters.index(letter), entity_type)
            for entity_type in sorted(types)
            for letter in scheme.distinct_letters
        ]
        return cls.parse(scheme, [OUTSIDE_TAG, *names])

    def tag_ids(self, type_ids: Array, roles: Array) -> Array:
        """The tags of tokens, (tokens,), by their entity types and roles; for a `complete` set only."""
        width = len(self.scheme.distinct_letters)
        return np.where(type_ids > 0, 1 + (type_ids - 1) * width + self.scheme.letter_indices[roles], 0)

    @property
    def is_continuation(self) -> Array:
        """Whether a tag must follow another tag of its entity, (tags,)."""
        return (self.type_ids > 0) & np.isin(self.roles, (TokenRole.INSIDE, TokenRole.END))

    @property
    def can_continue(self) -> Array:
        """Whether the entity of a tag may go on in the next token, (tags,)."""
        return (self.type_ids > 0) & np.isin(self.roles, (TokenRole.BEGIN, TokenRole.INSIDE))

    def forbidden_transitions(self) -> list[list[int]]:
        """Pairs of tags [from, to] that never follow each other.

        The number of tags stands for the start of a sentence (as `from`) and for its end (as `to`).
        """
        count = len(self.names)
        same_entity = (
            (self.type_ids[:, None] == self.type_ids) & self.can_continue[:, None] & self.is_continuation
        )
        forbidden = np.zeros((count + 1, count + 1), bool)  # (from, to)
        forbidden[:count, :count] = self.is_continuation & ~same_entity
        forbidden[count, :count] = self.is_continuation
        if self.scheme.has_end_letter:
            forbidden[:count, :count] |= self.can_continue[:, None] & ~same_entity
            forbidden[:count, count] = self.can_continue
        pairs: list[list[int]] = np.argwhere(forbidden).tolist()
        return pairs


def _parse_tag(scheme: TagScheme, name: str) -> tuple[int, str] | None:
    """The role and the entity type of a tag, None for O; raises `ValueError` for a tag of another scheme."""
    if name == OUTSIDE_TAG:
        return None
    typed = TYPED_TAG.fullmatch(name)
    letter, entity_type = typed.groups() if typed else (name, "")
    if len(letter) != 1 or letter not in scheme.letters:
        raise ValueError(name)
    return scheme.letters.index(letter), entity_type


def detect_scheme(counts: Mapping[str, int]) -> TagScheme | None:
    """The scheme of tags with these token counts; None if most tokens have no entity tag.

    Up to half of the tokens may have tags beside the scheme: `invalid_tags` lists those.
    """
    letters: dict[str, int] = {}
    for name, count in counts.items():
        if typed := TYPED_TAG.fullmatch(name):
            letters[typed[1]] = letters.get(typed[1], 0) + count
    if not letters:
        return _detect_untyped(counts)
    fitting = sum(letters.values()) + counts.get(OUTSIDE_TAG, 0)
    if fitting <= MIN_ENTITY_SHARE * sum(counts.values()):
        return None
    return _best_scheme(letters)


def _detect_untyped(counts: Mapping[str, int]) -> TagScheme | None:
    """The scheme of tags that are single letters; None if they are not."""
    letters = {name: count for name, count in counts.items() if name != OUTSIDE_TAG}
    if "B" not in letters or len(letters) == 1 or not letters.keys() <= set("BIMELSU"):
        return None
    return _best_scheme(letters)


def _best_scheme(letters: Mapping[str, int]) -> TagScheme:
    """The simplest scheme of those whose letters cover the most tokens.

    A scheme with a letter for ends is out of the question if most entities that begin never end.
    """
    begun = letters.get(SCHEMES["bio"].letters[TokenRole.BEGIN], 0)
    candidates = [
        scheme
        for scheme in SCHEMES.values()
        if not scheme.has_end_letter or 2 * letters.get(scheme.letters[TokenRole.END], 0) >= begun
    ]
    return max(
        candidates,
        key=lambda scheme: sum(count for letter, count in letters.items() if letter in scheme.letters),
    )


def invalid_tags(scheme: TagScheme, names: Sequence[str]) -> dict[int, str]:
    """Tags that the scheme does not have: from a tag's number to a clause that says what is allowed."""
    is_typed = any(TYPED_TAG.fullmatch(name) for name in names)
    expected = f"O, or {scheme.describe_letters()}" + (" with '-' and a type" if is_typed else "")
    return {
        number: f"the others are {scheme.name.upper()}: {expected}"
        for number, name in enumerate(names)
        if not _is_valid_tag(scheme, name, is_typed=is_typed)
    }


def _is_valid_tag(scheme: TagScheme, name: str, *, is_typed: bool) -> bool:
    try:
        parsed = _parse_tag(scheme, name)
    except ValueError:
        return False
    return parsed is None or bool(parsed[1]) == is_typed
