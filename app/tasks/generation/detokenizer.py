"""Tokens as they are generated, turned into text that can be shown at once and never has to be taken back."""

import codecs
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.tasks.contract import Ints
from app.tasks.shared.tokenizers import END, pieces
from app.typedefs import Json


class Streamed:
    """The text of a growing list of tokens, up to a stop string or `END`.

    What is given out never changes: a character of which bytes are missing and a tail that may be the
    beginning of a stop string are held back until they are whole or are something else. Of stop strings the
    one that is complete first counts, the longest of those complete at once, so that the text is the same
    however the tokens come.
    """

    def __init__(self, spelled: Sequence[bytes], stop: Sequence[str] = ()) -> None:
        self.tokens = 0  # taken so far, those of a stop string included, `END` not
        self.ended = False  # by `END` or a stop string: nothing follows
        self._spelled = spelled  # what each token adds to the text, UTF-8
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._seen = 0  # tokens of the list that `update` was given

    @property
    def finish_reason(self) -> str:
        """Why the text ends where it does."""
        return "stop" if self.ended else "length"

    def update(self, tokens: Sequence[int] | Ints) -> str:
        """The text that all tokens so far add to what was given out."""
        new = tokens[self._seen :]
        self._seen += len(new)
        return self.push(new)

    def push(self, tokens: Iterable[int]) -> str:
        """The text that some more tokens add."""
        return "".join(self._one(int(token)) for token in tokens)

    def close(self) -> str:
        """The rest, when nothing follows any more; the bytes of an unfinished character are left out."""
        rest, self._held = self._held, ""
        return rest

    def _one(self, token: int) -> str:
        if self.ended:
            return ""
        if token == END:
            self.ended = True
            return self.close()
        self.tokens += 1
        new = self._decoder.decode(self._spelled[token])
        if not self._stop:
            return new
        text = self._held + new
        if (found := _first(text, self._stop)) is not None:
            self.ended, self._held = True, ""
            return text[: found.begin]
        safe = len(text) - max(_begun(text, stop) for stop in self._stop)
        self._held = text[safe:]
        return text[:safe]


def follow(state: Json, search: Json) -> Streamed:
    """For what a model with this state generates with this search."""
    return Streamed(pieces(state["tokeniser"]), search["stop"])


class _Place(NamedTuple):
    """Where a stop string stands; the first to end is the least, and of these the first to begin."""

    end: int
    begin: int


def _first(text: str, stops: Sequence[str]) -> _Place | None:
    places = ((text.find(stop), stop) for stop in stops)
    return min((_Place(at + len(stop), at) for at, stop in places if at >= 0), default=None)


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the beginning of a stop string."""
    longest = min(len(stop) - 1, len(text))
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
