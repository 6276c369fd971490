"""Checks that the tags of a file fit together, by the scheme that they follow."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from app.arrays import Array
from app.tasks.shared.table_cells import shorten
from app.tasks.source import MAX_FAULTS, Faults
from app.tasks.tagging.sentences import TAGS, Sentences
from app.tasks.tagging.spans import sentence_starts
from app.tasks.tagging.tag_schemes import PLAIN, SCHEMES, TagSet, TokenRole, detect_scheme, invalid_tags

LineOf = Callable[[int, int], int]  # the line of the file with a token: (sentence, token) -> line

IOB1 = "iob1"  # BIO in which `B` only separates an entity from one of the same type before it
BIO = SCHEMES["bio"]
MAX_ENTITY_TYPES = 128  # a CRF learns four tags of each type, and a weight for every pair of tags


def validate_tags(sentences: Sentences, line_of: LineOf, faults: "Faults") -> tuple[Sentences, str]:
    """The sentences with their scheme, and the name of the file's scheme; tags in IOB1 become BIO.

    Raises `DatasetInvalid` if they are entity tags that do not fit together.
    """
    counts = np.bincount(sentences.tags, minlength=len(sentences.tag_names)).tolist()
    scheme = detect_scheme(dict(zip(sentences.tag_names, counts, strict=True)))
    if scheme is None:
        return sentences, PLAIN
    report = _TokenFaults(sentences, line_of, faults)
    if invalid := invalid_tags(scheme, sentences.tag_names):
        is_invalid = np.isin(sentences.tags, list(invalid))
        report.add(is_invalid, lambda index: f"is no tag of entities; {invalid[int(sentences.tags[index])]}.")
        faults.check()
    typed = replace(sentences, scheme=scheme)
    tags, starts = typed.tag_set, sentence_starts(sentences.tokens.offsets)
    _check_type_count(len(tags.types) - 1, faults)
    stray, unfinished = _misplaced(tags, sentences.tags, starts)
    if scheme == BIO and stray.any() and _is_iob1(tags, sentences.tags, starts):
        return _to_bio(typed), IOB1
    report.add(stray, lambda index: _explain_stray(typed, index, is_start=bool(starts[index])))
    report.add(unfinished, lambda index: _explain_unfinished(tags, int(sentences.tags[index])))
    faults.check()
    return typed, scheme.name


def _check_type_count(count: int, faults: "Faults") -> None:
    if count > MAX_ENTITY_TYPES:
        detail = f"The tags are of {count:,} types of entities; at most {MAX_ENTITY_TYPES} are learned."
        faults.add(detail, column=TAGS)
        faults.check()


class _TokenFaults:
    """Adds faults of single tokens, with their lines, to those of the file."""

    def __init__(self, sentences: Sentences, line_of: LineOf, faults: "Faults") -> None:
        self._sentences, self._line_of, self._faults = sentences, line_of, faults

    def add(self, wrong: Array, explain: Callable[[int], str]) -> None:
        """Report tokens that are `wrong`, (tokens,); `explain` gives the end of the sentence about one."""
        sentences = self._sentences
        for index in np.flatnonzero(wrong)[:MAX_FAULTS].tolist():
            sentence = int(np.searchsorted(sentences.tokens.offsets, index, side="right")) - 1
            token = index - int(sentences.tokens.offsets[sentence])
            word = shorten(sentences.words[int(sentences.tokens.values[index])])
            tag = shorten(sentences.tag_names[int(sentences.tags[index])])
            detail = f"The tag {tag} of token {token + 1} ({word}) {explain(index)}"
            self._faults.add(detail, row=self._line_of(sentence, token), column=TAGS)


def _misplaced(tags: TagSet, tag_ids: Array, starts: Array) -> tuple[Array, Array]:
    """Whether a token continues an entity that is not there, and whether it leaves one without its end.

    Both are (tokens,), as are `tag_ids` and `starts`, which marks the first tokens of sentences.
    """
    types, continues = tags.type_ids[tag_ids], tags.is_continuation[tag_ids]
    can_continue = tags.can_continue[tag_ids]
    joined = np.zeros(len(tag_ids), bool)  # to the token before
    joined[1:] = can_continue[:-1] & continues[1:] & (types[:-1] == types[1:]) & ~starts[1:]
    if not tags.scheme.has_end_letter:
        return continues & ~joined, np.zeros(len(tag_ids), bool)
    return continues & ~joined, can_continue & ~np.append(joined[1:], False)


def _is_iob1(tags: TagSet, tag_ids: Array, starts: Array) -> bool:
    """Whether every `B` directly follows an entity of its type."""
    types = tags.type_ids[tag_ids]
    begins = (types > 0) & ~tags.is_continuation[tag_ids]
    follows_same_type = ~starts & (np.roll(types, 1) == types)
    return bool(follows_same_type[begins].all())


def _to_bio(sentences: Sentences) -> Sentences:
    """The same entities, tagged in BIO."""
    tags, entities = TagSet.complete(BIO, sentences.tag_set.types[1:]), sentences.entities
    tag_ids = tags.tag_ids(entities.type_ids, entities.roles).astype(sentences.tags.dtype)
    return replace(sentences, tags=tag_ids, tag_names=tags.names)


def _explain_stray(sentences: Sentences, index: int, *, is_start: bool) -> str:
    """What is wrong with a tag that continues an entity that is not there."""
    context = "at the beginning of a sentence"
    if not is_start:
        context = f"behind {shorten(sentences.tag_names[int(sentences.tags[index - 1])])}"
    roles = (TokenRole.BEGIN, TokenRole.INSIDE)
    required = _tags_of_same_type(sentences.tag_set, int(sentences.tags[index]), roles)
    unless = ", unless all of the file is IOB1" if sentences.scheme == BIO else ""
    return f"is {context}; {required} must stand before it{unless}."


def _explain_unfinished(tags: TagSet, tag_id: int) -> str:
    """What is wrong with a tag whose entity does not end."""
    return f"needs {_tags_of_same_type(tags, tag_id, (TokenRole.INSIDE, TokenRole.END))} behind it."


def _tags_of_same_type(tags: TagSet, tag_id: int, roles: Iterable[int]) -> str:
    """The tags of the same entity type for other roles, as a phrase."""
    entity_type = tags.types[int(tags.type_ids[tag_id])]
    return " or ".join(shorten(tags.scheme.tag(role, entity_type)) for role in roles)
