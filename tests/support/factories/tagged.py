"""Sentences of a tiny language with names of people and cities, tagged with entities or parts of speech."""

import json
import random
from collections.abc import Sequence
from typing import Any

PEOPLE = ["Ann", "Ben Okri", "Carla", "Dr Eva de Vries", "Finn"]
CITIES = ["Lima", "New York", "Oslo", "Rio de Janeiro"]
VERBS = ["visits", "likes", "leaves", "remembers"]
THINGS = ["the park", "a museum", "the old harbour"]
SENTENCE_ENDS = [".", "!"]
PARTS_OF_SPEECH = {
    "the": "DET",
    "a": "DET",
    "old": "ADJ",
    ".": "SIGN",
    "!": "SIGN",
    "and": "CONJ",
    "in": "PREP",
}

Sentence = tuple[list[str], list[str]]


def entities(count: int, seed: int = 0) -> list[Sentence]:
    """Sentences such as `Ben Okri likes the park in Oslo .`, in BIO."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    return [_sentence(rng) for _ in range(count)]


def _sentence(rng: random.Random) -> Sentence:
    tokens: list[str] = []
    tags: list[str] = []

    def say(phrase: str, kind: str = "") -> None:
        words = phrase.split()
        tokens.extend(words)
        tags.extend([f"{'I' if at else 'B'}-{kind}" if kind else "O" for at in range(len(words))])

    say(rng.choice(PEOPLE), "per")
    if rng.random() < 0.3:
        say("and")
        say(rng.choice(PEOPLE), "per")
    say(rng.choice(VERBS))
    say(*rng.choice([(rng.choice(CITIES), "loc"), (rng.choice(THINGS), "")]))
    if rng.random() < 0.5:
        say("in")
        say(rng.choice(CITIES), "loc")
    say(rng.choice(SENTENCE_ENDS))
    return tokens, tags


def parts_of_speech(count: int, seed: int = 0) -> list[Sentence]:
    """The sentences of `entities`, with a part of speech for each word."""
    return [
        (tokens, [part_of_speech(token, tag) for token, tag in zip(tokens, tags, strict=True)])
        for tokens, tags in entities(count, seed)
    ]


def part_of_speech(token: str, tag: str) -> str:
    return "NAME" if tag != "O" else PARTS_OF_SPEECH.get(token, "VERB" if token in VERBS else "NOUN")


def to_jsonl(sentences: Sequence[Sentence], splits: Sequence[str] | None = None) -> bytes:
    rows: list[dict[str, Any]] = [{"tokens": tokens, "tags": tags} for tokens, tags in sentences]
    for row, split in zip(rows, splits or [], strict=False):
        row["split"] = split
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def to_conll(sentences: Sequence[Sentence], separator: str = " ") -> bytes:
    blocks = [
        "".join(f"{token}{separator}{tag}\n" for token, tag in zip(*sentence, strict=True))
        for sentence in sentences
    ]
    return "\n".join(blocks).encode()


def to_bioes(tags: list[str]) -> list[str]:
    """BIO as BIOES, one tag at a time."""
    bioes = []
    for tag, after in zip(tags, [*tags[1:], "O"], strict=True):
        goes_on = after == "I" + tag[1:]
        letter = {"B": "B" if goes_on else "S", "I": "I" if goes_on else "E"}.get(tag[0], "O")
        bioes.append(letter + tag[1:])
    return bioes


def to_iob1(tags: list[str]) -> list[str]:
    """BIO as IOB1, one tag at a time."""
    return [
        tag if tag[0] != "B" or before[1:] == tag[1:] else "I" + tag[1:]
        for before, tag in zip(["O", *tags[:-1]], tags, strict=True)
    ]
