"""Reads tagged sentences from an uploaded file."""

from array import array
from typing import Any

import numpy as np

from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.shared.splits import SPLIT, read_split
from app.tasks.shared.table_cells import MAX_FIELDS_SHOWN, shorten
from app.tasks.shared.text_checks import text_problem
from app.tasks.source import TOKEN_LINES, Faults, Reading, Source, possible_answers
from app.tasks.tagging.sentences import NO_TAG, TAGS, TOKENS, Sentences
from app.tasks.tagging.summary import dataset_warnings, summarize
from app.tasks.tagging.tag_schemes import PLAIN
from app.tasks.tagging.validation import validate_tags
from app.typedefs import Json

FIELDS = (TOKENS, TAGS, SPLIT)
MIN_TRAIN_SENTENCES = 10
MAX_SENTENCE_TOKENS = 5_000
MAX_TOKEN_CHARS = 1_000
MAX_TAG_CHARS = 100
MAX_DISTINCT_TAGS = 4_096


class SentenceReader:
    """Collects sentences record by record, and adds what is wrong with them to `faults`."""

    def __init__(self, faults: "Faults", *, token_per_line: bool) -> None:
        self.lines = array("q")  # of each sentence, its first
        self.ignored: dict[str, int] = {}  # field -> first line that has it
        self.fields: dict[str, None] = {}  # of all records, in order
        self._token_lines: dict[int, list[int]] = {}  # of sentences whose tokens are on lines with gaps
        self._untagged: list[tuple[int, str]] = []  # lines of sentences without tags, and what they have
        self._has_tags = False
        self._faults = faults
        self._token_per_line = token_per_line
        self._words: dict[str, int] = {}  # word -> number; from 1 on: 0 is padding
        self._tag_names: dict[str, int] = {}
        self._tokens, self._tags, self._lengths, self._splits = array("i"), array("i"), array("q"), array("b")

    def add(self, line: int, record: "Json") -> None:
        """Add the sentence of a record, or a fault for everything that is wrong with it."""
        if not self.fields and TOKENS not in record:
            self._faults.stop_without(TOKENS, record, line)
        self.fields.update(dict.fromkeys(record))
        for name in record.keys() - {*FIELDS, TOKEN_LINES}:
            if len(self.ignored) < MAX_FIELDS_SHOWN:
                self.ignored.setdefault(name, line)
        tokens = self._read_list(line, record, TOKENS)
        tags = self._read_tags(line, record, tokens)
        split = read_split(record.get(SPLIT), line, self._faults)
        if tokens is None or tags is None or split is None:
            return
        if (tokens or record.get(TAGS) is not None) and not self._check_lengths(line, tokens, tags):
            return
        if TOKEN_LINES in record:
            self._token_lines[len(self.lines)] = record[TOKEN_LINES]
        valid = [
            self._number_texts(line, tokens, TOKENS, self._words, MAX_TOKEN_CHARS),
            tags == [None] * len(tags)
            or self._number_texts(line, tags, TAGS, self._tag_names, MAX_TAG_CHARS),
        ]
        if not all(valid):
            return
        self._tokens.extend([self._words[token] for token in tokens])
        self._tags.extend([self._tag_names.get(tag, NO_TAG) for tag in tags])
        self._lengths.append(len(tokens))
        self._splits.append(split)
        self.lines.append(line)

    def line_of(self, sentence: int, token: int) -> int:
        """The line of the file that a token is on."""
        if sentence in self._token_lines:
            return self._token_lines[sentence][token]
        return self.lines[sentence] + (token if self._token_per_line else 0)

    def check_tags(self) -> bool:
        """Whether the sentences have tags; a file of which some have none has faults."""
        if not self._has_tags:
            candidates = possible_answers(self.fields, (*FIELDS, "text", TOKEN_LINES))
            if candidates and TAGS not in self.fields and self.lines and not self._faults.problems:
                self._faults.stop_without(TAGS, self.fields, self.lines[0])
            return False
        for line, detail in self._untagged:
            self._faults.add(detail, row=line, column=TAGS)
        return True

    def sentences(self) -> Sentences:
        """All sentences, still without a scheme; there must be at least one."""
        return Sentences(
            words=Texts.of(["", *self._words]),
            tokens=Ragged(np.array(self._tokens, np.int32), offsets_of(np.array(self._lengths))),
            tags=np.array(self._tags, np.int16),
            tag_names=list(self._tag_names),
            scheme=None,
            splits=np.array(self._splits, np.int8),
        )

    def _read_list(self, line: int, record: "Json", name: str) -> list[Any] | None:
        value = record.get(name)
        if isinstance(value, list):
            return value
        self._faults.add(_describe_missing(record, name), row=line, column=name)
        return None

    def _read_tags(self, line: int, record: "Json", tokens: list[Any] | None) -> list[Any] | None:
        """The tags of a record; for one without tags None for each token."""
        if record.get(TAGS) is not None:
            self._has_tags = True
            return self._read_list(line, record, TAGS)
        self._untagged.append((line, _describe_missing(record, TAGS)))
        return [None] * len(tokens or ())

    def _check_lengths(self, line: int, tokens: list[Any], tags: list[Any]) -> bool:
        """Whether there are as many tags as tokens, at least one and not too many; else adds a fault."""
        detail, column = None, TOKENS
        if not tokens and not tags:
            detail = "The sentence has no tokens."
        elif len(tokens) != len(tags):
            detail, column = f"Expected as many tags as tokens, {len(tokens)}, got {len(tags)}.", TAGS
        elif len(tokens) > MAX_SENTENCE_TOKENS:
            detail = f"A sentence of {len(tokens):,} tokens; at most {MAX_SENTENCE_TOKENS:,} are read."
            if self._token_per_line:
                detail += " A blank line ends a sentence."
        if detail:
            self._faults.add(detail, row=line, column=column)
        return not detail

    def _number_texts(
        self, line: int, texts: list[Any], column: str, numbers: dict[str, int], max_chars: int
    ) -> bool:
        """Give new words or tags a number; whether all are usable texts, else adds faults."""
        valid = True
        for index, text in enumerate(texts):
            if isinstance(text, str) and text in numbers:
                continue
            row = line + index if self._token_per_line else line
            if problem := text_problem(text, max_chars):
                valid = False
                noun = "Token" if column == TOKENS else "Tag"
                self._faults.add(f"{noun} {index + 1} {problem}", row=row, column=column)
            elif column == TAGS and len(numbers) == MAX_DISTINCT_TAGS:
                detail = f"There are more than {MAX_DISTINCT_TAGS:,} different tags."
                self._faults.add(detail, row=row, column=column)
                self._faults.check()
            else:
                numbers[text] = len(numbers) + (column == TOKENS)
        return valid


def read_sentences(source: "Source", faults: "Faults") -> tuple[Sentences, Reading]:
    """Read sentences, with their tags where they have them; raises `DatasetInvalid`."""
    reader = SentenceReader(faults, token_per_line=source.format == "conll")
    for line, record in source.records():
        reader.add(line, record)
    has_tags = reader.check_tags()
    faults.check()
    if not reader.lines:
        faults.add("The file has no sentences.", row=1)
    faults.check()
    sentences, file_scheme = reader.sentences(), PLAIN
    if has_tags:
        sentences, file_scheme = validate_tags(sentences, reader.line_of, faults)
    untrainable = _untrainable(sentences) if has_tags else "The sentences have no tags."
    warnings = dataset_warnings(sentences, file_scheme, reader.ignored, is_trainable=untrainable is None)
    summary = summarize(sentences, file_scheme)
    return sentences, Reading(sentences.arrays(), summary, warnings, untrainable, has_tags)


def _describe_missing(record: "Json", name: str) -> str:
    """What a record has instead of a list in this field."""
    if name in record:
        return f"Expected a list of texts, got {shorten(record[name])}."
    fields = ", ".join(shorten(field) for field in list(record)[:MAX_FIELDS_SHOWN]) or "no field"
    return f"There is no field {name!r} (the line has {fields}); name it with `columns`."


def _untrainable(sentences: Sentences) -> str | None:
    """Why sentences with tags cannot be trained on, if so: too few, or one tag only, are left for that."""
    count = int(sentences.is_trainable.sum())
    outside = " outside the valid and test splits" if count < len(sentences) else ""
    if count < MIN_TRAIN_SENTENCES:
        few = f"{'is 1 sentence' if count == 1 else f'are {count} sentences'}{outside}, too few to learn from"
        return f"There {few}; at least {MIN_TRAIN_SENTENCES} are needed."
    used = np.unique(sentences.tags[sentences.token_indices(np.flatnonzero(sentences.is_trainable))])
    if len(used) > 1:
        return None
    tag = shorten(sentences.tag_names[int(used[0])])
    return f"All tokens{outside} have the tag {tag}: there is nothing to learn."
