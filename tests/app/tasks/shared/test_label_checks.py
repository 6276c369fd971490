"""What a held-out split that is still to be drawn may take away decides how many examples a label needs."""

import pytest

from app.tasks.shared.label_checks import check_labels
from app.tasks.shared.splits import TEST, TRAIN, UNASSIGNED, VALID
from app.tasks.source import Faults

LABELS = ["a"] * 6 + ["b"] * 4


def faults(codes: list[int]) -> list[tuple[str, str]]:
    collected = Faults()
    check_labels(LABELS, codes, collected, noun="clip", column="label")
    return [(problem.pointer, problem.detail) for problem in collected.problems]


@pytest.mark.parametrize("held_out", [[VALID, VALID], [TEST, TEST], [VALID, TEST]])
@pytest.mark.parametrize("code", [TRAIN, UNASSIGNED])
def test_a_label_needs_three_examples_unless_both_held_out_splits_are_given(
    code: int, held_out: list[int]
) -> None:
    """Two of the label b are for training: a drawn split might take them both."""
    problems = faults([code] * 8 + held_out)
    if {*held_out} == {VALID, TEST}:
        assert problems == []
    else:
        ((pointer, detail),) = problems
        assert pointer == "/file/column/label"
        assert detail.startswith("Fewer than two labels have 3 clips")


def test_three_examples_of_each_label_are_enough_to_draw_from() -> None:
    assert faults([TRAIN] * 9 + [TEST]) == []


def test_a_label_that_is_only_held_out_is_not_learned() -> None:
    (fault,) = faults([TRAIN] * 6 + [VALID, VALID, TEST, TEST])
    assert fault == ("/file/column/split", "The clips for training have fewer than two labels.")
