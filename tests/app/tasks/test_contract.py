"""What tasks share."""

import pytest

from app.errors import DatasetInvalid
from app.tasks.source import MAX_FAULTS, Faults


def test_a_fault_points_at_row_and_column_even_with_an_odd_name() -> None:
    faults = Faults()
    faults.add("odd", row=3, column="km/h~")
    faults.add("plain", column="y")
    faults.add("whole")
    places = [problem.pointer for problem in faults.problems]
    assert places == ["/file/row/3/column/km~1h~0", "/file/column/y", "/file"]


def test_the_twentieth_fault_is_the_last() -> None:
    faults = Faults()
    for row in range(1, MAX_FAULTS):
        faults.add("wrong", row=row)
    with pytest.raises(DatasetInvalid) as caught:
        faults.add("wrong", row=MAX_FAULTS)
    assert len(caught.value.problems) == MAX_FAULTS
