"""Small texts for tests of language models."""

import json

import numpy as np

WORDS = ("the", "king", "and", "queen", "of", "night", "sleeps", "sings", "while", "rain", "falls", "again")


def verses(lines: int = 120, seed: int = 0) -> str:
    """Lines of a few words that often follow each other, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    verse = []
    for _ in range(lines):
        first = int(rng.integers(len(WORDS)))
        indices = [
            (first + step * int(rng.integers(1, 3))) % len(WORDS) for step in range(int(rng.integers(3, 8)))
        ]
        verse.append(" ".join(WORDS[index] for index in indices).capitalize() + ".\n")
    return "".join(verse)


def poems(count: int = 12) -> bytes:
    """JSON Lines, a poem each; the first is for validation, the second for the test."""
    splits = ["valid", "test", *["train"] * (count - 2)]
    records = [{"text": verses(20, seed), "split": split} for seed, split in enumerate(splits)]
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)
