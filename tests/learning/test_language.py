"""Default options on text and readings that nobody tuned on: the network beats the obvious answer."""

import json
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest

from app.typedefs import Json
from tests.support.factories.default_jobs import train_with_defaults
from tests.support.fixtures.real_data import shared


class Other(NamedTuple):
    """A data set in a documented format, and the metric by which it is judged."""

    task: str
    metric: str
    records: Callable[[], Iterator[Json]]
    lower: bool = False  # is better


def rows(name: str) -> Iterator[Json]:
    with shared(name).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def verses() -> Iterator[Json]:
    return rows("translation/bible_en_es.jsonl")


def motions() -> Iterator[Json]:
    """Four movements, by an accelerometer and a gyroscope."""
    return rows("classification/BasicMotions.jsonl")


def letters() -> Iterator[Json]:
    """Which words of verses in lower case are written with a capital (truecasing: Lita et al. 2003)."""
    for verse in islice(verses(), 4_000):
        words = verse["source"].split()
        tags = ["capital" if word[:1].isupper() else "small" for word in words]
        yield {"tokens": [word.lower() for word in words], "tags": tags}


def spanish() -> Iterator[Json]:
    """A chapter or so a document."""
    told = [verse["target"] for verse in islice(verses(), 2_400)]
    for start in range(0, len(told), 30):
        yield {"text": "\n".join(told[start : start + 30])}


def into_english() -> Iterator[Json]:
    for verse in islice(verses(), 8_000):
        yield {"source": verse["target"], "target": verse["source"]}


OTHERS = {
    "motions": Other("classification", "accuracy", motions),
    "letters": Other("tagging", "accuracy", letters),
    "spanish": Other("generation", "bits_per_character", spanish, lower=True),
    "into_english": Other("translation", "bleu", into_english),
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", OTHERS)
def test_better_than_without_a_network(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = OTHERS[name]
    path = tmp_path / "content.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in other.records()), encoding="utf-8")
    outcome = train_with_defaults(other.task, path, tmp_path, threads=2)
    ours, theirs = outcome.metrics[other.metric], outcome.baseline[other.metric]
    with capsys.disabled():
        sys.stdout.write(f" {name}: {other.metric} {ours:.4f} / {theirs:.4f} ")
    assert ours < theirs if other.lower else ours > theirs
