import numpy as np
import pytest

from app.tasks.forecasting.normalization import (
    LOG,
    NONE,
    SIGNED,
    Transform,
    causal_scale,
    choose_kind,
    last_observed,
    transform_of,
)

POSITIVE = np.array([1.0, 2.0, np.nan, 4.0])


@pytest.mark.parametrize("kind", [LOG, SIGNED, NONE])
def test_inverse_undoes_forward(kind: str) -> None:
    transform = transform_of(POSITIVE, kind)
    np.testing.assert_allclose(transform.inverse(transform.forward(POSITIVE))[[0, 1, 3]], [1, 2, 4])


@pytest.mark.parametrize("kind", [LOG, SIGNED, NONE])
def test_inverse_is_finite_for_any_network_output(kind: str) -> None:
    assert np.isfinite(Transform(kind, 1e12).inverse(np.array([-1e30, 1e30, np.inf, np.nan]))).all()


def test_zeros_take_asinh_where_the_model_takes_logs() -> None:
    assert transform_of(np.array([0.0, 5.0]), LOG).kind == SIGNED
    assert transform_of(np.array([0.0, 0.0]), LOG).unit > 0


def test_most_series_decide_the_transform() -> None:
    positive, counts, degrees = np.array([1.0, 2.0]), np.array([0.0, 3.0]), np.array([-4.0, 3.0])
    assert choose_kind([positive, positive, degrees]) == LOG
    assert choose_kind([positive, counts, counts]) == SIGNED
    assert choose_kind([degrees, degrees, positive]) == NONE


def test_last_observed_before_each_position() -> None:
    observed = np.array([False, True, False, True])
    assert last_observed(observed).tolist() == [1, 1, 1, 3]


def test_scale_reads_only_what_came_before() -> None:
    observed = np.ones(6, bool)
    moves = np.array([1.0, 3.0, 2.0, 2.0, 2.0])
    changed = np.array([1.0, 3.0, 2.0, 90.0, 90.0])
    scale = causal_scale(moves, observed, 2, 7.0)
    np.testing.assert_allclose(scale[:3], [7.0, 1.0, 2.0])
    np.testing.assert_allclose(scale[3], 0.5 * 2.5 + 0.5 * 2.0)
    np.testing.assert_allclose(causal_scale(changed, observed, 2, 7.0)[:4], scale[:4])


def test_scale_of_a_series_that_does_not_move_is_positive() -> None:
    assert (causal_scale(np.zeros(4), np.ones(5, bool), 2, 1.0) > 0).all()
