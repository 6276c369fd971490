"""What a held-out split that is still to be drawn may take away decides how many examples a label needs."""

import pytest

from app.tasks.shared.label_checks import untrainable_labels
from app.tasks.shared.splits import TEST, TRAIN, UNASSIGNED, VALID

LABELS = ["a"] * 6 + ["b"] * 4


def reason(codes: list[int]) -> str | None:
    return untrainable_labels(LABELS, codes, "clip")


@pytest.mark.parametrize("held_out", [[VALID, VALID], [TEST, TEST], [VALID, TEST]])
@pytest.mark.parametrize("code", [TRAIN, UNASSIGNED])
def test_a_label_needs_three_examples_unless_both_held_out_splits_are_given(
    code: int, held_out: list[int]
) -> None:
    """Two of the label b are for training: a drawn split might take them both."""
    found = reason([code] * 8 + held_out)
    if {*held_out} == {VALID, TEST}:
        assert found is None
    else:
        assert str(found).startswith("Fewer than two labels have 3 clips")


def test_three_examples_of_each_label_are_enough_to_draw_from() -> None:
    assert reason([TRAIN] * 9 + [TEST]) is None


def test_a_label_that_is_only_held_out_is_not_learned() -> None:
    held_out = [VALID, VALID, TEST, TEST]
    assert reason([TRAIN] * 6 + held_out) == "The clips for training have fewer than two labels."
