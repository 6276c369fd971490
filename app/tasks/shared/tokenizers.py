"""Tokenizers trained on texts with the `tokenizers` library; each is JSON text, kept in a model's state."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import import_module  # a web process that serves no text never pays the library's memory
from typing import Any

from app.errors import Problem
from app.tasks.contract import BEGIN, END, PADDING, UNKNOWN
from app.tasks.unspaced import CHARACTER, OTHER_WORD

SPECIAL_TOKENS = ["⟨pad⟩", "⟨unk⟩", "⟨s⟩", "⟨/s⟩"]  # PADDING to END; no merge of bytes can spell these signs
WORD_PATTERN = r"\w+(?:['’\-]\w+)*|[^\w\s]"  # words with inner apostrophes and hyphens, else single signs
SPACED_WORD_PATTERN = r" ?\w+(?:['’\-]\w+)*| ?[^\w\s]|\s"  # the same with a space before them; other space
# Words, or single characters of scripts without spaces between words.
UNSPACED_WORD_PATTERN = rf"{CHARACTER}|{OTHER_WORD}(?:['’\-]{OTHER_WORD})*|[^\w\s]"
CHARACTER_PATTERN = r"[\s\S]"
CONTINUED = "…"  # the name of a token that goes on with the character of the one before it
TOKENIZER_SETTINGS = frozenset(
    f"options.{name}" for name in ("tokens", "vocabulary_size", "min_count", "lower", "shared_vocabulary")
)  # settings that change what a token is
MIN_BPE_TOKENS = 300  # 256 bytes, four special tokens and some merges
CACHED_TOKENIZERS = 256
BATCH_TEXTS = 10_000  # for `encode_batch`: tokens, as objects of the library, take much memory


class TokenUnit(StrEnum):
    """What a token is: a word, a byte pair encoding of bytes, or a character."""

    WORD = "word"
    BPE = "bpe"
    CHARACTER = "character"


@dataclass(frozen=True)
class TokenSpans:
    """The tokens of a text: their ids, and where each is in the text."""

    ids: list[int]
    spans: list[tuple[int, int]]  # characters, the end is exclusive


def pieces(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """The characters of each token; of a character that several tokens spell the first one has it."""
    parts, done = list[str](), 0
    for begin, end in spans:
        parts.append(text[max(begin, done) : end])
        done = max(done, end)
    return parts


def piece_labels(pieces: Sequence[str]) -> list[str]:
    """Names of tokens by their characters; of one that spells a part of a character `CONTINUED`."""
    return [piece or CONTINUED for piece in pieces]


def train_tokenizer(
    texts: Iterable[str],
    unit: TokenUnit,
    size: int,
    *,
    lower: bool = False,
    min_count: int = 1,
    spaced: bool = False,
    split_unspaced: bool = False,
) -> str:
    """A tokenizer of at most `size` tokens, each of which occurs at least `min_count` times in the texts.

    The same texts give the same tokenizer. Unknown words and characters become `UNKNOWN`; every byte is known
    (BPE: Sennrich et al. 2016, over bytes as Radford et al. 2019). With `spaced` words keep the space before
    them, so that decoding restores the text; characters and bytes always do. With `split_unspaced` words
    that are not `spaced` end after each character of a script without spaces between words.
    """
    library = import_module("tokenizers")
    settings: dict[str, Any] = {"special_tokens": SPECIAL_TOKENS, "show_progress": False}
    if unit == TokenUnit.BPE:
        tokenizer, trainer = _byte_pairs(library, size, min_count, settings)
    else:
        words = UNSPACED_WORD_PATTERN if split_unspaced else WORD_PATTERN
        tokenizer = _whole_units(library, unit, SPACED_WORD_PATTERN if spaced else words, spaced=spaced)
        trainer = library.trainers.WordLevelTrainer(vocab_size=size, min_frequency=min_count, **settings)
    normalizers = [library.normalizers.NFC(), *([library.normalizers.Lowercase()] if lower else [])]
    tokenizer.normalizer = library.normalizers.Sequence(normalizers)
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def _byte_pairs(library: Any, size: int, min_count: int, settings: dict[str, Any]) -> tuple[Any, Any]:
    """An untrained BPE tokenizer of bytes, and its trainer."""
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, min_frequency=max(min_count, 2), initial_alphabet=sorted(alphabet), **settings
    )
    return tokenizer, trainer


def _whole_units(library: Any, unit: TokenUnit, words: str, *, spaced: bool) -> Any:
    """An untrained tokenizer of words, which match the pattern `words`, or of characters."""
    tokenizer = library.Tokenizer(library.models.WordLevel(unk_token=SPECIAL_TOKENS[UNKNOWN]))
    drops_space = unit == TokenUnit.WORD and not spaced
    pattern = library.Regex(CHARACTER_PATTERN if unit == TokenUnit.CHARACTER else words)
    behavior = "removed" if drops_space else "isolated"
    tokenizer.pre_tokenizer = library.pre_tokenizers.Split(pattern, behavior, invert=drops_space)
    decoders = library.decoders
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True) if drops_space else decoders.Fuse()
    return tokenizer


def vocabulary_problems(unit: str, size: int) -> list[Problem]:
    """Why no vocabulary of at most `size` tokens can be learned; points at the option."""
    if unit != TokenUnit.BPE or size >= MIN_BPE_TOKENS:
        return []
    detail = f"bpe begins with all 256 bytes; it needs at least {MIN_BPE_TOKENS} tokens."
    return [Problem("/options/vocabulary_size", detail)]


def encode(tokenizer: str, text: str) -> TokenSpans:
    """The tokens of a text, without `BEGIN` and `END`."""
    encoding = _load(tokenizer).encode(text, add_special_tokens=False)
    return TokenSpans(encoding.ids, encoding.offsets)


def encode_batch(tokenizer: str, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of many texts."""
    encodings = _load(tokenizer).encode_batch_fast(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def decode(tokenizer: str, ids: Sequence[int]) -> str:
    """The text of tokens; `PADDING`, `BEGIN` and `END` are left out."""
    shown = [number for number in ids if number not in (PADDING, BEGIN, END)]
    return str(_load(tokenizer).decode(shown, skip_special_tokens=False))


def vocabulary_size(tokenizer: str) -> int:
    """The number of tokens, including the special ones."""
    return int(_load(tokenizer).get_vocab_size())


def token_text(tokenizer: str, number: int) -> str | None:
    """The text of a token as the vocabulary writes it; None if there is no token of that number."""
    return _load(tokenizer).id_to_token(number)  # type: ignore[no-any-return]


@lru_cache(CACHED_TOKENIZERS)
def token_bytes(tokenizer: str) -> tuple[bytes, ...]:
    """The UTF-8 bytes that each token adds to a text, empty for special tokens; of words only if `spaced`.

    A token of bytes may be a part of a character.
    """
    model = json.loads(tokenizer)["model"]
    added = [b""] * (1 + max(model["vocab"].values()))
    codes = _byte_codes() if model["type"] == "BPE" else None
    for text, number in model["vocab"].items():
        if number >= len(SPECIAL_TOKENS):
            added[number] = text.encode() if codes is None else bytes(codes[sign] for sign in text)
    return tuple(added)


def _byte_codes() -> dict[str, int]:
    """The byte of each sign in a byte-level vocabulary; unprintable bytes have signs from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + at): byte for at, byte in enumerate(others)}


@lru_cache(CACHED_TOKENIZERS)
def _load(tokenizer: str) -> Any:
    loaded = import_module("tokenizers").Tokenizer.from_str(tokenizer)
    loaded.encode_special_tokens = True  # a text with `⟨s⟩` in it means these three signs
    return loaded
