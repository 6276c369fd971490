"""A request for text: the prompt as tokens, and how to go on from it."""

import secrets
import unicodedata
from hashlib import blake2b
from typing import Annotated

import msgspec
import numpy as np

from app.errors import Invalid, Problem
from app.tasks.contract import Array
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts
from app.tasks.shared.tokenizers import END
from app.typedefs import Json

READ = 4096  # tokens of a prompt, the last ones
LOOKED_AT = {"character": 2 * READ, "bpe": 8 * READ, "word": 16 * READ}  # characters that hold as many
LONGEST = 1 << 20  # characters

Stop = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Seed = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Instance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A text to go on from, of which at most the last 4,096 tokens are read; it may be empty."""

    prompt: Annotated[str, msgspec.Meta(max_length=LONGEST)]


class Parameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How to choose each token: `temperature` 0 takes the most likely one, `top_k` 0 and `top_p` 1 any.

    The same `seed` and prompt give the same text; without a seed it is another one each time.
    """

    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 200
    temperature: Annotated[float, msgspec.Meta(ge=0, le=5)] = 1.0
    top_k: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)] = 0
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    seed: Seed | None = None
    stop: Stop | Annotated[list[Stop], msgspec.Meta(max_length=8)] | None = None
    stream: bool = False

    @property
    def stops(self) -> list[str]:
        """Strings that end the text, in the normal form that texts are generated in."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [unicodedata.normalize("NFC", stop) for stop in given]


def read_prompt(state: Json, prompt: str) -> Array:
    """The last tokens of a prompt behind `END`, with which every document begins, (time, 1) int64."""
    tail = prompt[-LOOKED_AT[state["unit"]] :]
    try:
        tail.encode()
    except UnicodeEncodeError:
        detail = "Half of a surrogate pair: this is not a text."
        raise Invalid(detail, [Problem("/prompt", detail)]) from None
    ids = tokenizers.encode(state["tokeniser"], tail).ids
    return np.array([END, *ids[-READ:]], np.int64)[:, None]


def search(prompt: str, parameters: Parameters) -> Json:
    """How to decode, as JSON; the seed is that of this prompt."""
    greedy = parameters.top_p == 0  # not even the most likely token fits in
    return {
        "max_tokens": parameters.max_tokens,
        "temperature": parameters.temperature,
        "top_k": 1 if greedy else parameters.top_k,
        "top_p": 1.0 if greedy else parameters.top_p,
        "seed": _seed(prompt, parameters.seed),
        "stop": parameters.stops,
    }


def _seed(prompt: str, seed: int | None) -> int:
    """From 0 to 2⁶³ - 1: prompts of one request go different ways, a repeated request the same ones."""
    if seed is None:
        return secrets.randbits(63)
    told = f"{seed} {prompt}".encode(errors="replace")
    return int.from_bytes(blake2b(told, digest_size=8).digest(), "big") >> 1


class Prompts:
    """Documents as instances, each made when it is asked for: as much of their ends as a prompt is read."""

    def __init__(self, texts: Texts, unit: str) -> None:
        self._texts = texts
        self._characters = LOOKED_AT[unit]

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> Instance:
        end = self._texts.ragged[index][-4 * self._characters :]  # bytes; a character has four at most
        return Instance(end.tobytes().decode(errors="ignore")[-self._characters :])


def misfits(parameters: Parameters) -> list[Problem]:
    """Why documents cannot be predicted with these parameters."""
    if parameters.stream:
        return [Problem("/parameters/stream", "A batch of predictions cannot be streamed.")]
    return []
