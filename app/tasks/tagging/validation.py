"""Whether the tags of a file fit together, and the scheme they are of."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from app.tasks.contract import Array, Faults
from app.tasks.shared.table_cells import shorten
from app.tasks.tagging.sentences import TAGS, Sentences
from app.tasks.tagging.spans import firsts_of
from app.tasks.tagging.tag_schemes import BEGIN, END, INSIDE, PLAIN, SCHEMES, TagSet, detect, wrong_tags

Place = Callable[[int, int], int]  # the line of a sentence's token

IOB1 = "iob1"  # BIO where `B` only parts an entity from one of the same type before it
BIO = SCHEMES["bio"]
MOST_TYPES = 128  # a chain learns four tags of each, and every pair of them
ENOUGH = 20  # places, more are not reported


def arrange(found: Sentences, place: Place, faults: "Faults") -> tuple[Sentences, str]:
    """The sentences with their scheme, and what the file calls it; tags in IOB1 become BIO.

    Raises `DatasetInvalid` if they are tags of entities that do not fit together.
    """
    counts = np.bincount(found.tags, minlength=len(found.names)).tolist()
    scheme = detect(dict(zip(found.names, counts, strict=True)))
    if scheme is None:
        return found, PLAIN
    report = _Report(found, place, faults)
    if wrong := wrong_tags(scheme, found.names):
        unknown = np.isin(found.tags, list(wrong))
        report.add(unknown, lambda at: f"is no tag of entities; {wrong[int(found.tags[at])]}.")
        faults.check()
    arranged = replace(found, scheme=scheme)
    tags, firsts = arranged.tag_set, firsts_of(found.tokens.offsets)
    if len(tags.types) - 1 > MOST_TYPES:
        many = f"The tags are of {len(tags.types) - 1:,} types of entities; at most {MOST_TYPES} are learned."
        faults.add(many, column=TAGS)
        faults.check()
    stray, broken = _illegal(tags, found.tags, firsts)
    if scheme == BIO and stray.any() and _is_iob1(tags, found.tags, firsts):
        return _to_bio(arranged), IOB1
    report.add(stray, lambda at: _astray(arranged, at, first=bool(firsts[at])))
    report.add(broken, lambda at: f"needs {_listed(tags, int(found.tags[at]), (INSIDE, END))} behind it.")
    faults.check()
    return arranged, scheme.name


class _Report:
    """Faults at tokens."""

    def __init__(self, sentences: Sentences, place: Place, faults: "Faults") -> None:
        self._sentences, self._place, self._faults = sentences, place, faults

    def add(self, wrong: Array, told: Callable[[int], str]) -> None:
        """Tell of the first wrong tokens, (tokens,)."""
        found = self._sentences
        for at in np.flatnonzero(wrong)[:ENOUGH].tolist():
            sentence = int(np.searchsorted(found.tokens.offsets, at, side="right")) - 1
            token = at - int(found.tokens.offsets[sentence])
            word = shorten(found.words[int(found.tokens.values[at])])
            tag = shorten(found.names[int(found.tags[at])])
            row = self._place(sentence, token)
            self._faults.add(f"The tag {tag} of token {token + 1} ({word}) {told(at)}", row=row, column=TAGS)


def _illegal(tags: TagSet, numbers: Array, firsts: Array) -> tuple[Array, Array]:
    """Which tokens go on with what is not there, and which do not end what they should, both (tokens,)."""
    kinds, goes_on, is_open = tags.kinds[numbers], tags.goes_on[numbers], tags.open[numbers]
    joined = np.zeros(len(numbers), bool)  # with the token before
    joined[1:] = is_open[:-1] & goes_on[1:] & (kinds[:-1] == kinds[1:]) & ~firsts[1:]
    if not tags.scheme.closed:
        return goes_on & ~joined, np.zeros(len(numbers), bool)
    return goes_on & ~joined, is_open & ~np.append(joined[1:], False)


def _is_iob1(tags: TagSet, numbers: Array, firsts: Array) -> bool:
    """Whether each `B` stands right behind an entity of its type."""
    kinds = tags.kinds[numbers]
    begins = (kinds > 0) & ~tags.goes_on[numbers]
    behind = ~firsts & (np.roll(kinds, 1) == kinds)
    return bool(behind[begins].all())


def _to_bio(found: Sentences) -> Sentences:
    """The same entities in BIO."""
    full, segments = TagSet.full(BIO, found.tag_set.types[1:]), found.segments
    numbers = full.numbers(segments.kinds, segments.roles).astype(found.tags.dtype)
    return replace(found, tags=numbers, names=full.names)


def _astray(found: Sentences, at: int, *, first: bool) -> str:
    """What is wrong with a tag that goes on with an entity that is not there."""
    before = "at the beginning of a sentence"
    if not first:
        before = f"behind {shorten(found.names[int(found.tags[at - 1])])}"
    wanted = _listed(found.tag_set, int(found.tags[at]), (BEGIN, INSIDE))
    unless = ", unless all of the file is IOB1" if found.scheme == BIO else ""
    return f"is {before}; {wanted} must stand before it{unless}."


def _listed(tags: TagSet, number: int, roles: Iterable[int]) -> str:
    """The tags of the same type for other roles."""
    kind = tags.types[int(tags.kinds[number])]
    return " or ".join(shorten(tags.scheme.write(role, kind)) for role in roles)
