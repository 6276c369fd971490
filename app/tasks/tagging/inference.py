"""Tokenizes a request for tags, and makes the prediction from the tags that a network gives."""

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module  # a worker that gets tokens only never pays the library's memory
from typing import Annotated, Any

import msgspec
import numpy as np

from app.arrays import Array, Arrays
from app.errors import Invalid, Problem
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.text_checks import MAX_TEXT_CHARS, text_problem
from app.tasks.shared.tokenizers import WORD_PATTERN
from app.tasks.tagging.reading import MAX_SENTENCE_TOKENS, MAX_TOKEN_CHARS
from app.tasks.tagging.sentences import TOKENS, WORDS
from app.tasks.tagging.spans import EntityMarks
from app.tasks.tagging.tag_schemes import PLAIN, SCHEMES, UNNAMED_TYPE, TagSet
from app.typedefs import Json

CACHED_TAG_SETS = 256


class TaggingInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A sentence: either `tokens`, split as in the training data, or a `text` that is split into words.

    One without words has an answer without tags.

    A word is letters and digits with apostrophes and hyphens within it, or any other single sign. Entities
    are located by characters of the text; for tokens, the text is all of them joined by single spaces.
    """

    tokens: Annotated[
        Annotated[
            list[Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TOKEN_CHARS)]],
            msgspec.Meta(max_length=MAX_SENTENCE_TOKENS),
        ]
        | None,
        msgspec.Meta(description="The words of a sentence, or give a text."),
    ] = None
    text: Annotated[
        Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS)] | None,
        msgspec.Meta(description="A text, which is divided into words."),
    ] = None


class TaggingParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Tagging has no parameters."""


class TaggingInstances:
    """The sentences of a data set as instances without tags, each made when it is accessed."""

    def __init__(self, arrays: Arrays) -> None:
        self._words, self._tokens = Texts.from_arrays(arrays, WORDS), Ragged.from_arrays(arrays, TOKENS)

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, index: int) -> TaggingInstance:
        return TaggingInstance(tokens=self._words.pick(self._tokens[index]))


@dataclass(frozen=True)
class TokenizedText:
    """A text and the words in it."""

    text: str
    tokens: list[str]
    spans: list[tuple[int, int]]  # characters of the text, the end is exclusive


def tokenize_instance(instance: TaggingInstance) -> TokenizedText:
    """The words of an instance; raises `Invalid` with a pointer below the instance."""
    if instance.tokens is not None and instance.text is None:
        return _join_tokens(instance.tokens)
    if instance.text is not None and instance.tokens is None:
        return _split_text(instance.text)
    raise _invalid("", "Give either tokens or a text.")


def _join_tokens(tokens: list[str]) -> TokenizedText:
    spans, start = [], 0
    for index, token in enumerate(tokens):
        if problem := text_problem(token, MAX_TOKEN_CHARS):
            raise _invalid(f"/tokens/{index}", f"The token {problem}")
        spans.append((start, start + len(token)))
        start += len(token) + 1
    return TokenizedText(" ".join(tokens), tokens, spans)


def _split_text(text: str) -> TokenizedText:
    if not text.strip():
        return TokenizedText(text, [], [])
    if problem := text_problem(text):
        raise _invalid("/text", f"The text {problem}")
    words = _word_splitter().pre_tokenize_str(text)
    spans = [span for word, span in words if not word.isspace()]  # such as a separator of records
    if len(spans) > MAX_SENTENCE_TOKENS:
        detail = f"The text has {len(spans):,} words; at most {MAX_SENTENCE_TOKENS:,} are read at once."
        raise _invalid("/text", detail)
    tokens = [text[begin:end] for begin, end in spans]
    if (longest := max(map(len, tokens), default=0)) > MAX_TOKEN_CHARS:
        raise _invalid("/text", f"A word has {longest:,} characters; at most {MAX_TOKEN_CHARS:,} are read.")
    return TokenizedText(text, tokens, spans)


@cache
def _word_splitter() -> Any:
    """A pre-tokenizer that finds words."""
    library = import_module("tokenizers")
    return library.pre_tokenizers.Split(library.Regex(WORD_PATTERN), "removed", invert=True)


def _invalid(pointer: str, detail: str) -> Invalid:
    return Invalid(detail, [Problem(pointer, detail)])


def make_prediction(state: Json, text: TokenizedText, tag_ids: Array) -> Json:
    """The prediction for a text from the network's tags (tokens,).

    Tags that do not fit together are read as by seqeval, and answered as tags that do fit. Entities begin at
    a character of the text and end behind their last one.
    """
    if not text.tokens:
        return {"tokens": [], "tags": [], "entities": []}
    if state["scheme"] == PLAIN:
        names = state["tags"]
        return {"tokens": text.tokens, "tags": [names[tag] for tag in tag_ids.tolist()], "entities": []}
    learned, answered = _tag_sets(state["scheme"], state["answers"], tuple(state["tags"]))
    marks = EntityMarks.from_tags(learned, tag_ids, np.arange(len(tag_ids)) == 0)
    entities = []
    for first, stop, type_id in marks.spans().tolist():
        begin, end = text.spans[first][0], text.spans[stop - 1][1]
        name = learned.types[type_id] or UNNAMED_TYPE
        entities.append({"type": name, "text": text.text[begin:end], "start": begin, "end": end})
    names = [answered.names[tag] for tag in answered.tag_ids(marks.type_ids, marks.roles).tolist()]
    return {"tokens": text.tokens, "tags": names, "entities": entities}


@lru_cache(CACHED_TAG_SETS)
def _tag_sets(scheme: str, answer_scheme: str, names: tuple[str, ...]) -> tuple[TagSet, TagSet]:
    """The tags that the network has learned, and those of its answers."""
    learned = TagSet.parse(SCHEMES[scheme], names)
    return learned, TagSet.complete(SCHEMES[answer_scheme], learned.types[1:])
