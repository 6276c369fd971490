"""Requests for a translation as tokens, and the tokens of a translation as text."""

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.errors import Invalid, Problem
from app.tasks.contract import END, UNKNOWN
from app.tasks.shared import tokenizers
from app.tasks.shared.text_checks import text_problem
from app.tasks.shared.tokenizers import SPECIAL_TOKENS, TokenUnit
from app.tasks.translation.encoding import normalize_spaces
from app.tasks.translation.options import (
    MAX_TRANSLATION_TOKENS,
    TranslationInstance,
    TranslationParameters,
)
from app.typedefs import Json

SPARE_TOKENS = 10  # that a translation may have beyond the length that training lets expect


@dataclass(frozen=True)
class EncodedSource:
    """A source text as the network reads it."""

    ids: list[int]
    pieces: list[str]  # the characters of each token
    truncated: bool  # whether tokens were left out

    @property
    def inputs(self) -> Array:
        """The tokens up to `END`, (time, 1) int64."""
        return np.array([*self.ids, END], np.int64)[:, None]


def encode_source(state: Json, text: str) -> EncodedSource:
    """A source text as tokens, truncated to the length that the model reads."""
    text = normalize_spaces(text)
    tokens, max_tokens = tokenizers.encode(state["source"], text), state["longest"]
    pieces = tokenizers.pieces(text, tokens.spans[:max_tokens])
    return EncodedSource(tokens.ids[:max_tokens], pieces, len(tokens.ids) > max_tokens)


def encode_instance(state: Json, instance: TranslationInstance) -> EncodedSource:
    """The source text of a request as tokens, of a blank text none; raises `Invalid` if it cannot be used."""
    if not instance.text.strip():
        return EncodedSource([], [], truncated=False)
    if problem := text_problem(instance.text):
        raise Invalid(f"The text {problem}", [Problem("/text", f"The text {problem}")])
    return encode_source(state, instance.text)


def decoding_settings(state: Json, tokens: int, parameters: TranslationParameters) -> Json:
    """The settings of decoding, as JSON, for a source of this many tokens."""
    expected = math.ceil(state["stretch"] * tokens) + SPARE_TOKENS if tokens else 1
    return {
        "beam_size": parameters.beam_size,
        "max_tokens": parameters.max_tokens or min(expected, MAX_TRANSLATION_TOKENS),
        "length_penalty": parameters.length_penalty,
        "coverage_penalty": parameters.coverage_penalty,
        "attention": parameters.attention or state["copies"],
    }


def decode_pieces(state: Json, source: EncodedSource, tokens: Array, attention: Array | None) -> list[str]:
    """The text that each token adds; for an unknown token the source piece with the highest attention.

    Of a character that several tokens spell the last one adds the whole, the others nothing.
    """
    token_bytes = tokenizers.token_bytes(state["target"])
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces: list[str] = []
    for index, token in enumerate(tokens.tolist()):
        if token != UNKNOWN:
            pieces.append(decoder.decode(token_bytes[token]))
            continue
        copied = _attended_piece(source, attention, index)
        before = pieces[-1][-1:] if pieces else ""
        needs_space = state["unit"] == TokenUnit.WORD and before.isalnum() and copied[:1].isalnum()
        pieces.append(" " + copied if needs_space else copied)
    return pieces


def _attended_piece(source: EncodedSource, attention: Array | None, index: int) -> str:
    """The piece of the source with the highest weight for the token at `index`; `END` is none."""
    if attention is None or not source.pieces:
        return ""
    return source.pieces[int(np.argmax(attention[index, : len(source.pieces)]))]


def attention_weights(note: Json) -> Array | None:
    """The weights (tokens, source pieces and `END`) of a decoding, if it returned them."""
    weights = note.get("attention")
    return None if weights is None else np.asarray(weights, np.float64)


def decode_text(state: Json, source: EncodedSource, tokens: Array, note: Json) -> tuple[str, Sequence[str]]:
    """The translation, and its pieces."""
    pieces = decode_pieces(state, source, np.asarray(tokens), attention_weights(note))
    return "".join(pieces).strip(), pieces


def build_prediction(
    state: Json, source: EncodedSource, tokens: Array, note: Json, parameters: TranslationParameters
) -> Json:
    """The prediction as the API returns it; it has `truncated` only where that is true."""
    if not source.ids:
        tokens, note = np.zeros(0, np.int64), {"score": 0.0}
    text, pieces = decode_text(state, source, tokens, note)
    prediction: Json = {"text": text, "score": float(note["score"])}
    if source.truncated:
        prediction["truncated"] = True
    if parameters.attention:
        weights = attention_weights(note)
        prediction["attention"] = {
            "source": [*source.pieces, SPECIAL_TOKENS[END]],
            "target": list(pieces),
            "weights": [] if weights is None else weights.round(4).tolist(),
        }
    return prediction
