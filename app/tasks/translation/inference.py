"""A request for a translation as tokens, and the tokens that were found as a text."""

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.errors import Invalid, Problem
from app.tasks.contract import Array
from app.tasks.shared import tokenizers
from app.tasks.shared.text_checks import wrong_text
from app.tasks.shared.tokenizers import END, SPECIALS, UNKNOWN
from app.tasks.translation.encoding import plain
from app.tasks.translation.options import MOST_TOKENS, Instance, Parameters
from app.typedefs import Json

SPARE = 10  # tokens that a translation may have beyond its usual length


@dataclass(frozen=True)
class Original:
    """A source as the network reads it."""

    ids: list[int]
    pieces: list[str]  # what is written where each token is
    cut: bool  # whether a part was left out

    @property
    def inputs(self) -> Array:
        """The tokens up to `END`, (time, 1) int64."""
        return np.array([*self.ids, END], np.int64)[:, None]


def read_text(state: Json, line: str) -> Original:
    """A source, up to the longest that the model reads."""
    line = plain(line)
    found, longest = tokenizers.encode(state["source"], line), state["longest"]
    pieces, done = [], 0
    for begin, end in found.spans[:longest]:
        pieces.append(line[max(begin, done) : end])  # of the bytes of a character the first one has it
        done = max(done, end)
    return Original(found.ids[:longest], pieces, len(found.ids) > longest)


def read_instance(state: Json, instance: Instance) -> Original:
    """The source that a request tells; raises `Invalid` if it is none."""
    if wrong := wrong_text(instance.text):
        raise Invalid(f"The text {wrong}", [Problem("/text", f"The text {wrong}")])
    return read_text(state, instance.text)


def search(state: Json, tokens: int, parameters: Parameters) -> Json:
    """How to look for the translation of a source of so many tokens, as JSON."""
    usual = math.ceil(state["stretch"] * tokens) + SPARE
    return {
        "beam_size": parameters.beam_size,
        "max_tokens": parameters.max_tokens or min(usual, MOST_TOKENS),
        "length_penalty": parameters.length_penalty,
        "coverage_penalty": parameters.coverage_penalty,
        "attention": parameters.attention or state["copies"],
    }


def spell(state: Json, original: Original, tokens: Array, attention: Array | None) -> list[str]:
    """What each token adds to the translation; an unknown one is what the network looks at most (source).

    A token of bytes that ends within a character adds nothing, the one that ends it the whole of it.
    """
    known = tokenizers.pieces(state["target"])
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    found: list[str] = []
    for place, number in enumerate(tokens.tolist()):
        if number != UNKNOWN:
            found.append(decoder.decode(known[number]))
            continue
        copied = _looked_at(original, attention, place)
        behind = found[-1][-1:] if found else ""
        apart = state["unit"] == tokenizers.Unit.WORD and behind.isalnum() and copied[:1].isalnum()
        found.append(" " + copied if apart else copied)
    return found


def _looked_at(original: Original, attention: Array | None, place: int) -> str:
    """The piece of the source with the highest weight; the one of `END` is none."""
    if attention is None or not original.pieces:
        return ""
    return original.pieces[int(np.argmax(attention[place, : len(original.pieces)]))]


def attention_of(note: Json) -> Array | None:
    """Weights (tokens, pieces of the source and `END`), if they came along."""
    weights = note.get("attention")
    return None if weights is None else np.asarray(weights, np.float64)


def write(state: Json, original: Original, tokens: Array, note: Json) -> tuple[str, Sequence[str]]:
    """The translation, and its pieces."""
    pieces = spell(state, original, np.asarray(tokens), attention_of(note))
    return "".join(pieces).strip(), pieces


def answer(state: Json, original: Original, tokens: Array, note: Json, parameters: Parameters) -> Json:
    """The prediction; `truncated` is only there if it is true."""
    written, pieces = write(state, original, tokens, note)
    found: Json = {"text": written, "score": float(note["score"])}
    if original.cut:
        found["truncated"] = True
    if parameters.attention:
        weights = attention_of(note)
        found["attention"] = {
            "source": [*original.pieces, SPECIALS[END]],
            "target": list(pieces),
            "weights": [] if weights is None else weights.round(4).tolist(),
        }
    return found
