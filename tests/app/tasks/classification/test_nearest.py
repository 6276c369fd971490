import numpy as np

from app.tasks.classification.nearest import nearest, resampled
from app.tasks.shared.ragged import Ragged


def test_a_sequence_is_stretched_along_straight_lines() -> None:
    readings = Ragged.of([[[0.0], [2.0]], [[1.0]]], np.float32)
    np.testing.assert_allclose(
        resampled(readings, np.array([0, 1]), 5), np.array([[0, 0.5, 1, 1.5, 2], [1] * 5])
    )


def test_the_nearest_row_gives_its_label() -> None:
    rows = [[[0.0], [0.0]], [[5.0], [5.0], [5.0]], [[0.2]], [[4.0], [6.0]]]
    readings, labels = Ragged.of(rows, np.float32), np.array([7, 9, 0, 0])
    assert nearest(readings, labels, np.array([0, 1]), np.array([2, 3])).tolist() == [7, 9]
