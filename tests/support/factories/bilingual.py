"""Two tiny languages for tests: every word has one translation, and an adjective moves behind its noun."""

import json
import random

NOUNS = {
    "cat": "gato",
    "dog": "perro",
    "horse": "caballo",
    "man": "hombre",
    "friar": "fraile",
    "bird": "pájaro",
}
ADJECTIVES = {"red": "rojo", "old": "viejo", "small": "pequeño", "tired": "cansado"}
ARTICLES = {"the": "el", "a": "un"}
SIGNS = [".", "!", "?"]
VERBS = {"sees": "ve", "hears": "oye", "follows": "sigue", "forgets": "olvida"}

Pair = tuple[str, str]


def sentences(count: int, seed: int = 0) -> list[Pair]:
    """Pairs such as `The red cat sees a dog.` and `El gato rojo ve un perro.`."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    return [_sentence(rng) for _ in range(count)]


def _sentence(rng: random.Random) -> Pair:
    who, verb, whom = _phrase(rng), rng.choice(sorted(VERBS)), _phrase(rng)
    source, target = f"{who[0]} {verb} {whom[0]}", f"{who[1]} {VERBS[verb]} {whom[1]}"
    sign = rng.choice(SIGNS)
    return source.capitalize() + sign, target.capitalize() + sign


def _phrase(rng: random.Random) -> Pair:
    article, noun = rng.choice(sorted(ARTICLES)), rng.choice(sorted(NOUNS))
    if rng.random() < 0.5:
        return f"{article} {noun}", f"{ARTICLES[article]} {NOUNS[noun]}"
    adjective = rng.choice(sorted(ADJECTIVES))
    return f"{article} {adjective} {noun}", f"{ARTICLES[article]} {NOUNS[noun]} {ADJECTIVES[adjective]}"


def tsv(pairs: list[Pair], splits: list[str] | None = None) -> bytes:
    """The pairs as a table, with a column `split` if there are splits."""
    rows = ["source\ttarget", *(f"{source}\t{target}" for source, target in pairs)]
    if splits:
        rows = [f"{row}\t{split}" for row, split in zip(rows, ["split", *splits], strict=True)]
    return "\n".join(rows).encode() + b"\n"


def jsonl(pairs: list[Pair], splits: list[str] | None = None) -> bytes:
    """The pairs as JSON Lines, with a field `split` if there are splits."""
    records = [{"source": source, "target": target} for source, target in pairs]
    for record, split in zip(records, splits or [], strict=False):
        record["split"] = split
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
