"""Tagged sentences from an uploaded file."""

from array import array
from typing import Any

import numpy as np

from app.tasks.contract import Faults, Source
from app.tasks.shared import splits
from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.shared.table_cells import odd_text, shorten
from app.tasks.tagging.sentences import TAGS, TOKENS, Sentences
from app.tasks.tagging.summary import describe, warnings_of
from app.tasks.tagging.validation import arrange
from app.typedefs import Json

SPLIT = "split"
LEAST = 10  # sentences that training needs
LONGEST = 5_000  # tokens of a sentence
LONGEST_TOKEN = 1_000  # characters
LONGEST_TAG = 100
MOST_TAGS = 4_096
SHOWN = 12  # fields that are named in a message or in warnings


class Draft:
    """Sentences so far."""

    def __init__(self, faults: "Faults", *, by_line: bool) -> None:
        self.lines = array("q")  # of each sentence
        self.ignored: dict[str, int] = {}  # field -> first line that has it
        self._faults = faults
        self._by_line = by_line  # a token is on a line of its own
        self._words: dict[str, int] = {}  # from 1 on: 0 is padding
        self._names: dict[str, int] = {}
        self._tokens, self._tags, self._lengths, self._splits = array("i"), array("i"), array("q"), array("b")

    def add(self, line: int, record: "Json") -> None:
        """Take a sentence, or note what is wrong with it."""
        for name in record.keys() - {TOKENS, TAGS, SPLIT}:
            if len(self.ignored) < SHOWN:
                self.ignored.setdefault(name, line)
        tokens, tags = (self._list(line, record, name) for name in (TOKENS, TAGS))
        split = splits.read(record.get(SPLIT), line, self._faults)
        if tokens is None or tags is None or split is None or not self._even(line, tokens, tags):
            return
        good = [
            self._known(line, tokens, TOKENS, self._words, LONGEST_TOKEN),
            self._known(line, tags, TAGS, self._names, LONGEST_TAG),
        ]
        if not all(good):
            return
        self._tokens.extend([self._words[token] for token in tokens])
        self._tags.extend([self._names[tag] for tag in tags])
        self._lengths.append(len(tokens))
        self._splits.append(split)
        self.lines.append(line)

    def place(self, sentence: int, token: int) -> int:
        """The line a token is on."""
        return self.lines[sentence] + (token if self._by_line else 0)

    def whole(self) -> Sentences:
        """All of them, as yet without a scheme; there is at least one."""
        return Sentences(
            words=Texts.of(["", *self._words]),
            tokens=Ragged(np.array(self._tokens, np.int32), offsets_of(np.array(self._lengths))),
            tags=np.array(self._tags, np.int16),
            names=list(self._names),
            scheme=None,
            splits=np.array(self._splits, np.int8),
        )

    def _list(self, line: int, record: "Json", name: str) -> list[Any] | None:
        found = record.get(name)
        if isinstance(found, list):
            return found
        if name in record:
            detail = f"Expected a list of texts, got {shorten(found)}."
        else:
            there = ", ".join(shorten(field) for field in list(record)[:SHOWN]) or "no field"
            detail = f"There is no field {name!r} (the line has {there}); name it with `columns`."
        self._faults.add(detail, row=line, column=name)
        return None

    def _even(self, line: int, tokens: list[Any], tags: list[Any]) -> bool:
        detail, column = None, TOKENS
        if not tokens and not tags:
            detail = "The sentence has no tokens."
        elif len(tokens) != len(tags):
            detail, column = f"Expected as many tags as tokens, {len(tokens)}, got {len(tags)}.", TAGS
        elif len(tokens) > LONGEST:
            detail = f"A sentence of {len(tokens):,} tokens; at most {LONGEST:,} are read."
            if self._by_line:
                detail += " A blank line ends a sentence."
        if detail:
            self._faults.add(detail, row=line, column=column)
        return not detail

    def _known(self, line: int, texts: list[Any], column: str, known: dict[str, int], longest: int) -> bool:
        """Give new words or tags a number; what is no text is a fault."""
        good = True
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                wrong: str | None = f"is {shorten(text)}, which is no text."
            elif text in known:
                continue
            else:
                wrong = odd_text(text, longest)
            row = line + place if self._by_line else line
            if wrong:
                good = False
                kind = "Token" if column == TOKENS else "Tag"
                self._faults.add(f"{kind} {place + 1} {wrong}", row=row, column=column)
            elif column == TAGS and len(known) == MOST_TAGS:
                self._faults.add(f"There are more than {MOST_TAGS:,} different tags.", row=row, column=column)
                self._faults.check()
            else:
                known[text] = len(known) + (column == TOKENS)
        return good


def read_sentences(source: "Source", faults: "Faults") -> tuple[Sentences, "Json", list[str]]:
    """Read a data set of tagged sentences; gives it with its summary and warnings, or `DatasetInvalid`."""
    draft = Draft(faults, by_line=source.format == "conll")
    for line, record in source.records():
        draft.add(line, record)
    faults.check()
    if not draft.lines:
        faults.add("The file has no sentences.", row=1)
    faults.check()
    found, scheme = arrange(draft.whole(), draft.place, faults)
    _check_count(found, faults)
    return found, describe(found, scheme), warnings_of(found, scheme, draft.ignored)


def _check_count(found: Sentences, faults: "Faults") -> None:
    """A few sentences must be left beside those that are held out, and something to tell apart."""
    count = int(found.training.sum())
    outside = " outside the valid and test splits" if count < len(found) else ""
    if count < LEAST:
        detail = f"There are {count} sentences{outside}, too few to learn from; at least {LEAST} are needed."
        faults.add(detail, column=SPLIT if outside else TOKENS)
    else:
        used = np.unique(found.tags[found.taken(np.flatnonzero(found.training))])
        if len(used) == 1:
            tag = shorten(found.names[int(used[0])])
            faults.add(f"All tokens{outside} have the tag {tag}: there is nothing to learn.", column=TAGS)
    faults.check()
