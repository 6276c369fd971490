"""Small labelled data for tests: snippets with words that give the label away, and curves of two shapes."""

import json
from typing import Any

import numpy as np

GOOD, BAD = ("lovely", "brilliant", "warm", "funny"), ("dull", "awful", "cold", "boring")
NEUTRAL = ("the", "film", "story", "with", "a", "cast", "and", "music", "is", "was", "by", "plot")


def snippets(count: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    """Texts of a few words, labelled `pos` or `neg`."""
    rng, records = np.random.default_rng(seed), []
    for number in range(count):
        words = rng.choice(NEUTRAL, int(rng.integers(3, 9))).tolist()
        telling = GOOD if number % 2 else BAD
        words.insert(int(rng.integers(len(words))), str(rng.choice(telling)))
        records.append({"text": " ".join(words).capitalize() + ".", "label": "pos" if number % 2 else "neg"})
    return records


def curves(count: int = 60, seed: int = 0, channels: int = 3) -> list[dict[str, Any]]:
    """Readings that rise or fall, of different lengths, labelled 1 or 0."""
    rng, records = np.random.default_rng(seed), []
    for number in range(count):
        steps = int(rng.integers(4, 12))
        slope = (1 if number % 2 else -1) * np.linspace(0, 1, steps)[:, None]
        values = slope * np.arange(1, channels + 1) + 0.2 * rng.normal(size=(steps, channels)) + 5
        records.append({"values": values.round(4).tolist(), "label": number % 2})
    return records


def jsonl(records: list[dict[str, Any]]) -> bytes:
    """The records as JSON Lines."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)
