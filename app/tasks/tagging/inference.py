"""A request for tags: its words with their places in the text, and the answer about them."""

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module  # as `text` does: who only tags tokens never pays the library's memory
from typing import Annotated, Any

import msgspec
import numpy as np

from app.errors import Invalid, Problem
from app.tasks.contract import Array
from app.tasks.shared.table_cells import odd_text
from app.tasks.shared.tokenizers import WORDS
from app.tasks.tagging.reading import LONGEST, LONGEST_TOKEN
from app.tasks.tagging.spans import Segments
from app.tasks.tagging.tag_schemes import PLAIN, SCHEMES, UNNAMED, TagSet
from app.typedefs import Json

CHARACTERS = 20 * LONGEST  # of a text
CACHED = 256  # sets of tags in memory


class Instance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A sentence, either as `tokens` cut as in the training data, or as a `text` that is cut in words.

    A word is letters and digits with apostrophes and hyphens within it, or any other single sign. Entities
    are told with their places in the text; for tokens that is all of them joined by single spaces.
    """

    tokens: (
        Annotated[
            list[Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TOKEN)]],
            msgspec.Meta(min_length=1, max_length=LONGEST),
        ]
        | None
    ) = None
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=CHARACTERS)] | None = None


class Parameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """There is nothing to choose."""


@dataclass(frozen=True)
class Passage:
    """Words of a text."""

    text: str  # of tokens: they are joined by single spaces
    tokens: list[str]
    spans: list[tuple[int, int]]  # characters of the text, the end is behind the last one


def read_passage(instance: Instance) -> Passage:
    """The words of an instance; raises `Invalid` with a pointer below it."""
    if instance.tokens is not None and instance.text is None:
        return _joined(instance.tokens)
    if instance.text is not None and instance.tokens is None:
        return _cut(instance.text)
    raise _invalid("", "Give either tokens or a text.")


def _joined(tokens: list[str]) -> Passage:
    spans, place = [], 0
    for number, token in enumerate(tokens):
        if wrong := odd_text(token, LONGEST_TOKEN):
            raise _invalid(f"/tokens/{number}", f"The token {wrong}")
        spans.append((place, place + len(token)))
        place += len(token) + 1
    return Passage(" ".join(tokens), tokens, spans)


def _cut(text: str) -> Passage:
    if wrong := odd_text(text, CHARACTERS):
        raise _invalid("/text", f"The text {wrong}")
    cut = _cutter().pre_tokenize_str(text)
    spans = [span for word, span in cut if not word.isspace()]  # such as a separator of records
    if not spans:
        raise _invalid("/text", "The text has no words.")
    if len(spans) > LONGEST:
        raise _invalid("/text", f"The text has {len(spans):,} words; at most {LONGEST:,} are read at once.")
    tokens = [text[begin:end] for begin, end in spans]
    if (longest := max(map(len, tokens))) > LONGEST_TOKEN:
        raise _invalid("/text", f"A word has {longest:,} characters; at most {LONGEST_TOKEN:,} are read.")
    return Passage(text, tokens, spans)


@cache
def _cutter() -> Any:
    """What finds words."""
    library = import_module("tokenizers")
    return library.pre_tokenizers.Split(library.Regex(WORDS), "removed", invert=True)


def _invalid(pointer: str, detail: str) -> Invalid:
    return Invalid(detail, [Problem(pointer, detail)])


def answer(state: Json, passage: Passage, numbers: Array) -> Json:
    """The prediction; of tags that do not fit together it tells what seqeval reads in them, as fitting ones.

    Entities begin at a character of the text and end behind their last one.
    """
    if state["scheme"] == PLAIN:
        names = state["tags"]
        return {"tokens": passage.tokens, "tags": [names[tag] for tag in numbers.tolist()], "entities": []}
    tags, written = _tag_sets(state["scheme"], state["answers"], tuple(state["tags"]))
    segments = Segments.read(tags, numbers, np.arange(len(numbers)) == 0)
    entities = []
    for first, behind, kind in segments.spans().tolist():
        begin, end = passage.spans[first][0], passage.spans[behind - 1][1]
        name = tags.types[kind] or UNNAMED
        entities.append({"type": name, "text": passage.text[begin:end], "start": begin, "end": end})
    names = [written.names[tag] for tag in written.numbers(segments.kinds, segments.roles).tolist()]
    return {"tokens": passage.tokens, "tags": names, "entities": entities}


@lru_cache(CACHED)
def _tag_sets(scheme: str, answers: str, names: tuple[str, ...]) -> tuple[TagSet, TagSet]:
    """The tags of a network, and those of its answers."""
    tags = TagSet.parsed(SCHEMES[scheme], names)
    return tags, TagSet.full(SCHEMES[answers], tags.types[1:])
