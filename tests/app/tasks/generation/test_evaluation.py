"""What is evaluated of texts that versions were trained on, and when one may have seen it."""

import numpy as np
import pytest

from app.arrays import Arrays
from app.tasks.evaluation.contract import EvaluationSettings, TrainedVersion
from app.tasks.generation.evaluation import EVALUATION, GenerationSet
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import SPLIT, TEST, TRAIN, UNASSIGNED
from app.tasks.shared.text_checks import TEXT

POEMS = [f"Poem {number} has {number * number} words, or so it says.\n" for number in range(60)]


def arrays_of(codes: list[int]) -> Arrays:
    return {**Texts.of(POEMS).arrays(TEXT), SPLIT: np.array(codes, np.int8)}


def evaluated(codes: list[int], *seeds: int, known: bool = True) -> GenerationSet:
    versions = [TrainedVersion({}, seed, known) for seed in seeds]
    found = EVALUATION.open(arrays_of(codes), versions, None, EvaluationSettings((), 1, None, False))
    assert isinstance(found, GenerationSet)
    return found


def test_versions_of_one_seed_held_out_the_same_texts() -> None:
    assert evaluated([UNASSIGNED] * 60, 7, 7).warnings == []


def test_a_version_of_another_seed_may_have_seen_what_is_evaluated() -> None:
    (warning,) = evaluated([UNASSIGNED] * 60, 7, 8, 7, 9).warnings
    assert "seed 8, 9 may have been trained on what is evaluated, the test part of seed 7" in warning


@pytest.mark.parametrize("known", [True, False])
def test_a_marked_test_part_is_nobodys_training_text(known: bool) -> None:
    assert evaluated([TEST] * 10 + [TRAIN] * 50, 7, 8, known=known).warnings == []


def test_texts_that_no_version_was_trained_on_have_no_warning() -> None:
    assert evaluated([UNASSIGNED] * 60, 7, 8, known=False).warnings == []
