"""Real tagged texts as data sets: their summaries, the baseline's metrics, and the time it takes."""

import json
import time
from functools import cache
from typing import Any

import numpy as np
import pytest

from app.ingest.readers import Mapping, open_source
from app.tasks.source import Faults, Reading
from app.tasks.tagging.inference import TaggingInstance, TaggingParameters
from app.tasks.tagging.options import TaggingOptions
from app.tasks.tagging.task import TASK, TaggingEvaluationSplit
from app.typedefs import Json
from tests.support.fixtures.real_data import shared
from tests.support.single import decode_one, encode_one


@cache
def reading(name: str) -> Reading:
    faults = Faults()
    path = shared(f"tagging/{name}.jsonl")
    return TASK.read(open_source(path, "jsonl", Mapping.checked({}, TASK.columns), faults), faults)


def baseline_of(name: str) -> Json:
    plan = TASK.plan(reading(name).arrays, TaggingOptions(), 0)
    nothing = [np.zeros(length, np.int64) for length in plan.test.lengths]
    return TASK.score(plan.state, plan.test, nothing)[1]


def test_the_summary_of_names_in_tweets() -> None:
    summary = reading("wnut16_ner").summary
    assert (summary["sentences"], summary["tokens"], summary["scheme"]) == (2_394, 46_469, "bio")
    assert summary["split"] == {"train": 1_895, "valid": 243, "test": 256}
    assert len(summary["entities"]) == 10
    assert summary["entities"]["person"] == 449
    assert TASK.check(summary, TaggingOptions()) == []
    json.dumps(summary, allow_nan=False)


def test_the_summary_of_parts_of_speech() -> None:
    summary = reading("brown_pos").summary
    assert (summary["sentences"], summary["tokens"], summary["scheme"]) == (57_340, 1_161_192, "plain")
    assert summary["distinct_tags"] == 190
    assert summary["entities"] is None


def test_counting_reaches_the_published_figures() -> None:
    assert baseline_of("wnut16_ner")["f1"] == pytest.approx(0.341, abs=0.001)
    assert baseline_of("brown_pos")["accuracy"] == pytest.approx(0.921, abs=0.001)


def test_a_million_words_are_read_and_planned_in_seconds() -> None:
    began = time.process_time()
    reading.cache_clear()
    arrays = reading("brown_pos").arrays
    assert time.process_time() - began < 20
    assert sum(array.nbytes for array in arrays.values()) < 10_000_000
    began = time.process_time()
    plan = TASK.plan(arrays, TaggingOptions(), 0)
    assert time.process_time() - began < 20
    assert len(plan.train.lengths) == 46_090
    assert plan.outputs == len(plan.state["tags"]) == 187  # three tags are in no training sentence
    began = time.process_time()
    for start in range(0, 6_400, 32):
        plan.train.batch(np.arange(start, start + 32), np.random.default_rng(0))
    assert time.process_time() - began < 5


def test_the_score_of_tweets_is_that_of_seqeval(seqeval: Any) -> None:
    plan, rng = TASK.plan(reading("wnut16_ner").arrays, TaggingOptions(), 0), np.random.default_rng(0)
    assert isinstance(plan.test, TaggingEvaluationSplit)
    rows = [json.loads(line) for line in shared("tagging/wnut16_ner.jsonl").read_text().splitlines()]
    expected = [row["tags"] for row in rows if row["split"] == "test"]
    predicted, answered = [], []
    for row, tags in enumerate(expected):
        targets = plan.test.batch(np.array([row]), None).targets[0]
        noise = rng.integers(0, plan.outputs, len(tags))
        predicted.append(np.where(rng.random(len(tags)) < 0.1, noise, targets))
        example = encode_one(TASK, plan.state, TaggingInstance(tokens=["w"] * len(tags)), TaggingParameters())
        answered.append(decode_one(TASK, plan.state, example, predicted[-1], TaggingParameters())["tags"])
    metrics, _ = TASK.score(plan.state, plan.test, predicted)
    assert metrics["f1"] == pytest.approx(seqeval.metrics.f1_score(expected, answered))
    assert metrics["accuracy"] == pytest.approx(seqeval.metrics.accuracy_score(expected, answered))
