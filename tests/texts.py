"""Small texts for tests of language models."""

import json

import numpy as np

WORDS = ("the", "king", "and", "queen", "of", "night", "sleeps", "sings", "while", "rain", "falls", "again")


def verses(lines: int = 120, seed: int = 0) -> str:
    """Lines of a few words that often follow each other, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(lines):
        at = int(rng.integers(len(WORDS)))
        places = [
            (at + step * int(rng.integers(1, 3))) % len(WORDS) for step in range(int(rng.integers(3, 8)))
        ]
        said.append(" ".join(WORDS[place] for place in places).capitalize() + ".\n")
    return "".join(said)


def poems(count: int = 12) -> bytes:
    """JSON Lines, a poem each, some said to be held back."""
    splits = ["valid", "test", *["train"] * (count - 2)]
    texts = [{"text": verses(20, seed), "split": split} for seed, split in enumerate(splits)]
    return b"".join(json.dumps(one).encode() + b"\n" for one in texts)
