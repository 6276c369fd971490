"""The plays of Shakespeare as a data set: what is told of them, what counting makes of them, how soon."""

import time
from functools import cache

import numpy as np
import pytest

from app.ingest.readers import Mapping, open_source
from app.tasks.contract import END, Faults, Reading
from app.tasks.generation.baseline import measure
from app.tasks.generation.corpus import divide
from app.tasks.generation.options import Options
from app.tasks.generation.task import TASK, Pieces
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts
from tests.real_data import shared


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
    assert TASK.check(summary, Options()) == []


def test_counting_characters_reaches_the_published_figure() -> None:
    arrays = plays().arrays
    parts = divide(Texts.from_arrays(arrays, "text"), arrays["split"], 0)
    began = time.process_time()
    found = measure(parts.train, parts.test)
    assert time.process_time() - began < 30
    bits = found.spelled / np.log(2) / parts.test.characters
    assert 2.4 < bits < 2.6  # a plain 5-gram is said to have 2.82


@pytest.mark.parametrize(
    "unit",
    ["bpe", pytest.param("character", marks=pytest.mark.slow), pytest.param("word", marks=pytest.mark.slow)],
)
def test_five_million_characters_are_planned_in_seconds(unit: str) -> None:
    began = time.process_time()
    plan = TASK.plan(plays().arrays, Options(tokens=unit), 0)  # type: ignore[arg-type]
    assert time.process_time() - began < 60
    assert isinstance(plan.train, Pieces)
    tokens = plan.train.stream.tokens
    assert (tokens == END).sum() == 39
    assert plan.train.lengths.sum() == len(tokens) - 1
    if unit == "character":
        assert len(tokens) == 4_620_048 + 39
    if unit != "word":
        said = tokenizers.decode(plan.state["tokeniser"], tokens[:2000].tolist())
        assert said == plan_text()[: len(said)]


def plan_text() -> str:
    return Texts.from_arrays(plays().arrays, "text")[0]
