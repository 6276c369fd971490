"""Tokenisers learned from training texts, by the `tokenizers` library; as JSON text in a model's state."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import import_module  # a web process that serves no text never pays the library's memory
from typing import Any

from app.errors import Problem

PADDING, UNKNOWN, BEGIN, END = range(4)  # as `app.tasks.base` has them, which stands above this module

SPECIALS = ["⟨pad⟩", "⟨unk⟩", "⟨s⟩", "⟨/s⟩"]  # in that order; signs that no merge of bytes can spell
WORDS = r"\w+(?:['’\-]\w+)*|[^\w\s]"  # words with inner apostrophes and hyphens, else single signs
SPACED = r" ?\w+(?:['’\-]\w+)*| ?[^\w\s]|\s"  # the same with a space before them, and all other space
TOKENISED = frozenset(
    f"options.{name}" for name in ("tokens", "vocabulary_size", "min_count", "lower", "shared_vocabulary")
)  # settings that change what a token is
LEAST_BYTES = 300  # tokens of BPE: 256 bytes, four marks and some merges
CACHED = 256  # tokenisers in memory


class Unit(StrEnum):
    """What a token is."""

    WORD = "word"
    BPE = "bpe"
    CHARACTER = "character"


@dataclass(frozen=True)
class Tokens:
    """A text as tokens: numbers, and the span of each in the text."""

    ids: list[int]
    spans: list[tuple[int, int]]


def learn(
    texts: Iterable[str], unit: Unit, size: int, *, lower: bool = False, least: int = 1, spaced: bool = False
) -> str:
    """A tokeniser of at most `size` tokens that occur at least `least` times; the same texts give the same.

    Words and characters that it does not know are `UNKNOWN`; of bytes (BPE: Sennrich et al. 2016, over bytes
    as Radford et al. 2019) all are known. With `spaced` words keep the space before them, so that decoding
    gives the text back as it was; characters and bytes always do.
    """
    library = import_module("tokenizers")
    models, trainers, decoders = library.models, library.trainers, library.decoders
    specials: dict[str, Any] = {"special_tokens": SPECIALS, "show_progress": False}
    if unit == Unit.BPE:
        made = library.Tokenizer(models.BPE())
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=size, min_frequency=max(least, 2), initial_alphabet=sorted(alphabet), **specials
        )
    else:
        made = library.Tokenizer(models.WordLevel(unk_token=SPECIALS[UNKNOWN]))
        words = unit == Unit.WORD and not spaced
        pattern = r"[\s\S]" if unit == Unit.CHARACTER else WORDS if words else SPACED
        made.pre_tokenizer = library.pre_tokenizers.Split(
            library.Regex(pattern), "removed" if words else "isolated", invert=words
        )
        made.decoder = decoders.WordPiece(prefix="##", cleanup=True) if words else decoders.Fuse()
        trainer = trainers.WordLevelTrainer(vocab_size=size, min_frequency=least, **specials)
    steps = [library.normalizers.NFC(), *([library.normalizers.Lowercase()] if lower else [])]
    made.normalizer = library.normalizers.Sequence(steps)
    made.train_from_iterator(texts, trainer)
    return str(made.to_str())


def too_small(unit: str, size: int) -> list[Problem]:
    """Why no vocabulary of at most `size` tokens can be learned; points at the option."""
    if unit != Unit.BPE or size >= LEAST_BYTES:
        return []
    detail = f"bpe begins with all 256 bytes; it needs at least {LEAST_BYTES} tokens."
    return [Problem("/options/vocabulary_size", detail)]


def encode(tokeniser: str, text: str) -> Tokens:
    """A text as tokens, without `BEGIN` and `END`."""
    found = _load(tokeniser).encode(text, add_special_tokens=False)
    return Tokens(found.ids, found.offsets)


def encode_all(tokeniser: str, texts: Sequence[str]) -> list[list[int]]:
    """The tokens' numbers of many texts."""
    return [found.ids for found in _load(tokeniser).encode_batch_fast(texts, add_special_tokens=False)]


def decode(tokeniser: str, ids: Sequence[int]) -> str:
    """The text that tokens stand for; `PADDING`, `BEGIN` and `END` are left out."""
    known = [number for number in ids if number not in (PADDING, BEGIN, END)]
    return str(_load(tokeniser).decode(known, skip_special_tokens=False))


def size(tokeniser: str) -> int:
    """How many tokens there are, special ones included."""
    return int(_load(tokeniser).get_vocab_size())


def token(tokeniser: str, number: int) -> str | None:
    """How the vocabulary writes a token."""
    return _load(tokeniser).id_to_token(number)  # type: ignore[no-any-return]


@lru_cache(CACHED)
def pieces(tokeniser: str) -> tuple[bytes, ...]:
    """What each token adds to a text, as UTF-8; nothing for the first four. For words only if `spaced`.

    A token of bytes may be a part of a character.
    """
    model = json.loads(tokeniser)["model"]
    found = [b""] * (1 + max(model["vocab"].values()))
    codes = _bytes() if model["type"] == "BPE" else None
    for written, number in model["vocab"].items():
        if number >= len(SPECIALS):
            found[number] = written.encode() if codes is None else bytes(codes[sign] for sign in written)
    return tuple(found)


def _bytes() -> dict[str, int]:
    """The byte behind each sign of a byte-level vocabulary: its own if that can be seen, else a free one."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(0x100 + at): byte for at, byte in enumerate(hidden)}


@lru_cache(CACHED)
def _load(tokeniser: str) -> Any:
    found = import_module("tokenizers").Tokenizer.from_str(tokeniser)
    found.encode_special_tokens = True  # a text that says `⟨s⟩` means these three signs
    return found
