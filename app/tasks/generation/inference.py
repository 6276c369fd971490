"""A request for text: the prompt as tokens, and the settings of decoding."""

import unicodedata
from typing import Annotated

import msgspec
import numpy as np

from app.arrays import Array
from app.errors import Invalid, Problem
from app.tasks.contract import END
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts
from app.tasks.shared.seeds import SeedChoice, Temperature, TopK, TopP, derive_seed
from app.typedefs import Json

MAX_PROMPT_TOKENS = 4096  # that are read of a prompt, the last ones
PROMPT_TAIL_CHARS = {  # characters that hold as many tokens, by unit
    "character": 2 * MAX_PROMPT_TOKENS,
    "bpe": 8 * MAX_PROMPT_TOKENS,
    "word": 16 * MAX_PROMPT_TOKENS,
}
MAX_PROMPT_CHARS = 1 << 20
UTF8_BYTES = 4  # of a character, at most

Stop = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class GenerationInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A text to continue, of which at most the last 4,096 tokens are read; it may be empty."""

    prompt: Annotated[
        str, msgspec.Meta(max_length=MAX_PROMPT_CHARS, description="The beginning that is continued.")
    ]


class GenerationParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How to choose each token: `temperature` 0 takes the most likely one, `top_k` 0 and `top_p` 1 any.

    The same `seed` and prompt give the same text; without a seed it is another one each time.
    """

    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=4096, description="How long the answer may get.")] = 200
    temperature: Temperature = 1.0
    top_k: TopK = 0
    top_p: TopP = 1.0
    seed: SeedChoice = None
    stop: Annotated[
        Stop | Annotated[list[Stop], msgspec.Meta(max_length=8)] | None,
        msgspec.Meta(description="Texts before which the answer ends."),
    ] = None
    stream: bool = False

    @property
    def stops(self) -> list[str]:
        """Strings that end the text, in the normal form that texts are generated in."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [unicodedata.normalize("NFC", stop) for stop in stops]


class GenerationInstances:
    """Documents as instances, each made when it is requested: as much of its end as is read of a prompt."""

    def __init__(self, texts: Texts, unit: str) -> None:
        self._texts = texts
        self._characters = PROMPT_TAIL_CHARS[unit]

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> GenerationInstance:
        tail = self._texts.ragged[index][-UTF8_BYTES * self._characters :]  # bytes
        return GenerationInstance(tail.tobytes().decode(errors="ignore")[-self._characters :])


def encode_prompt(state: Json, prompt: str) -> Array:
    """The last tokens of a prompt behind `END`, with which every document begins, (time, 1) int64."""
    tail = prompt[-PROMPT_TAIL_CHARS[state["unit"]] :]
    try:
        tail.encode()
    except UnicodeEncodeError:
        detail = "Half of a surrogate pair: this is not a text."
        raise Invalid(detail, [Problem("/prompt", detail)]) from None
    ids = tokenizers.encode(state["tokeniser"], tail).ids
    return np.array([END, *ids[-MAX_PROMPT_TOKENS:]], np.int64)[:, None]


def prompt_labels(state: Json, prompt: str) -> list[str]:
    """The name of each token of `encode_prompt`."""
    tail = prompt[-PROMPT_TAIL_CHARS[state["unit"]] :]
    pieces = tokenizers.pieces(tail, tokenizers.encode(state["tokeniser"], tail).spans)
    return [tokenizers.SPECIAL_TOKENS[END], *tokenizers.piece_labels(pieces[-MAX_PROMPT_TOKENS:])]


def decoding_settings(prompt: str, parameters: GenerationParameters) -> Json:
    """The settings of decoding, as JSON; the seed is derived from the prompt."""
    greedy = parameters.top_p == 0  # not even the most likely token fits in
    return {
        "max_tokens": parameters.max_tokens,
        "temperature": parameters.temperature,
        "top_k": 1 if greedy else parameters.top_k,
        "top_p": 1.0 if greedy else parameters.top_p,
        "seed": derive_seed(parameters.seed, prompt.encode(errors="replace")),
        "stop": parameters.stops,
    }
