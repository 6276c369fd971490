"""The plays of Shakespeare as a data set: their summary, the n-gram baseline, and the time they take."""

import time
from functools import cache

import numpy as np
import pytest

from app.ingest.readers import Mapping, open_source
from app.tasks.contract import END
from app.tasks.generation.baseline import score_ngrams
from app.tasks.generation.corpus import split_corpus
from app.tasks.generation.options import GenerationOptions
from app.tasks.generation.task import TASK, GenerationSplit
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts
from app.tasks.source import Faults, Reading
from tests.support.fixtures.real_data import shared


@cache
def plays() -> Reading:
    faults = Faults()
    path = shared("generation/shakespeare.jsonl")
    return TASK.read(open_source(path, "jsonl", Mapping.checked({}, TASK.columns), faults), faults)


def test_the_summary_of_the_plays() -> None:
    summary = plays().summary
    assert plays().warnings == []
    assert (summary["documents"], summary["characters"], summary["distinct_characters"]) == (
        42,
        5_057_239,
        84,
    )
    assert summary["split"] == {"train": 38, "valid": 2, "test": 2}
    assert summary["train_characters"] == 4_620_048
    assert TASK.check(summary, GenerationOptions()) == []


def test_counting_characters_reaches_the_published_figure() -> None:
    arrays = plays().arrays
    parts = split_corpus(Texts.from_arrays(arrays, "text"), arrays["split"], 0)
    began = time.process_time()
    score = score_ngrams(parts.train, parts.test)
    assert time.process_time() - began < 30
    bits = score.nats_with_unseen / np.log(2) / parts.test.characters
    assert 2.4 < bits < 2.6  # a plain 5-gram is said to have 2.82


@pytest.mark.parametrize(
    "unit",
    ["bpe", pytest.param("character", marks=pytest.mark.slow), pytest.param("word", marks=pytest.mark.slow)],
)
def test_five_million_characters_are_planned_in_seconds(unit: str) -> None:
    began = time.process_time()
    plan = TASK.plan(plays().arrays, GenerationOptions(tokens=unit), 0)  # type: ignore[arg-type]
    assert time.process_time() - began < 60
    assert isinstance(plan.train, GenerationSplit)
    tokens = plan.train.encoded.tokens
    assert (tokens == END).sum() == 39
    assert plan.train.lengths.sum() == len(tokens) - 1
    if unit == "character":
        assert len(tokens) == 4_620_048 + 39
    if unit != "word":
        text = tokenizers.decode(plan.state["tokeniser"], tokens[:2000].tolist())
        assert text == plan_text()[: len(text)]


def plan_text() -> str:
    return Texts.from_arrays(plays().arrays, "text")[0]
