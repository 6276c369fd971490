"""Incremental detokenizer: tokens become text that can be shown at once and is never retracted."""

import codecs
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.arrays import Ints
from app.tasks.contract import END
from app.tasks.shared.tokenizers import token_bytes
from app.typedefs import Json


class TextDetokenizer:
    """The text of a growing list of tokens, up to a stop string or `END`.

    Text that was returned is final: a character whose bytes are incomplete, and a tail that may be the
    beginning of a stop string, are held back until they are complete or turn out to be something else. The
    stop string that is complete first counts, the longest of those complete at once, so that the text does
    not depend on how the tokens are grouped.
    """

    def __init__(self, bytes_of: Sequence[bytes], stop: Sequence[str] = ()) -> None:
        self.tokens = 0  # so far, those of a stop string included, `END` not
        self.ended = False  # by `END` or a stop string: nothing follows
        self._bytes_of = bytes_of  # the bytes that each token adds to the text, UTF-8
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""  # decoded, but held back
        self._updated = 0  # tokens of the list that `update` took

    @property
    def finish_reason(self) -> str:
        """`stop` if the text has ended, `length` if it may go on."""
        return "stop" if self.ended else "length"

    def update(self, tokens: Sequence[int] | Ints) -> str:
        """The text that is new in the list of all tokens so far."""
        new = tokens[self._updated :]
        self._updated += len(new)
        return self.push(new)

    def push(self, tokens: Iterable[int]) -> str:
        """The text that some more tokens add."""
        return "".join(self._push(int(token)) for token in tokens)

    def close(self) -> str:
        """The text that was held back, at the end; bytes of an incomplete character are dropped."""
        rest, self._pending = self._pending, ""
        return rest

    def _push(self, token: int) -> str:
        if self.ended:
            return ""
        if token == END:
            self.ended = True
            return self.close()
        self.tokens += 1
        new = self._decoder.decode(self._bytes_of[token])
        if not self._stop:
            return new
        text = self._pending + new
        if (stop := _find_stop(text, self._stop)) is not None:
            self.ended, self._pending = True, ""
            return text[: stop.begin]
        final = len(text) - max(_partial_stop_length(text, stop) for stop in self._stop)
        self._pending = text[final:]
        return text[:final]


def open_detokenizer(state: Json, decoding: Json) -> TextDetokenizer:
    """A detokenizer for the tokens that a model with this state generates with these decoding settings."""
    return TextDetokenizer(token_bytes(state["tokeniser"]), decoding["stop"])


class _StopSpan(NamedTuple):
    """A stop string in a text; spans compare by their end, then by their beginning."""

    end: int
    begin: int


def _find_stop(text: str, stops: Sequence[str]) -> _StopSpan | None:
    """The stop string that ends first; of several the one that begins first."""
    begins = ((text.find(stop), stop) for stop in stops)
    return min((_StopSpan(begin + len(stop), begin) for begin, stop in begins if begin >= 0), default=None)


def _partial_stop_length(text: str, stop: str) -> int:
    """The number of characters at the end of a text that may be the beginning of a stop string."""
    max_size = min(len(stop) - 1, len(text))
    return next((size for size in range(max_size, 0, -1) if text.endswith(stop[:size])), 0)
