"""Varied views show the same thing: order, side and shape stay."""

import numpy as np
import pytest

from app.tasks.video.augmentation import ClipAugmentation, resampling, vary_pixels, vary_selection

NONE = ClipAugmentation(0, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 30])
@pytest.mark.parametrize("time", [0.0, 0.2, 0.9])
def test_selected_frames_are_in_order_and_within_the_clip(count: int, time: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        selected = vary_selection(count, 8, ClipAugmentation(time=time), rng)
        assert len(selected) == min(count, 8)
        assert selected[0] >= 0
        assert selected[-1] < count
        assert (np.diff(selected) > 0).all()


def test_selections_differ_and_reach_the_whole_clip() -> None:
    rng = np.random.default_rng(0)
    selections = [tuple(vary_selection(60, 8, ClipAugmentation(), rng).tolist()) for _ in range(200)]
    assert len(set(selections)) > 150
    assert min(selected[0] for selected in selections) == 0
    assert max(selected[-1] for selected in selections) == 59


def test_without_any_change_pixels_stay() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 2, 9, 11)).astype(np.uint8)
    np.testing.assert_array_equal(vary_pixels(frames, NONE, np.random.default_rng(1)), frames)


def test_a_shift_moves_every_frame_alike_and_repeats_the_edge() -> None:
    line = np.arange(10.0, dtype=np.float32)
    np.testing.assert_allclose(resampling(10, 1, 0.2) @ line, [0, 0, *range(8)], atol=1e-5)
    np.testing.assert_allclose(resampling(10, 1, -0.2) @ line, [*range(2, 10), 9, 9], atol=1e-5)
    np.testing.assert_allclose(resampling(10, 2, 0) @ line, 4.5 + (line - 4.5) / 2, atol=1e-5)
    np.testing.assert_allclose(resampling(10, 0.7, 0.1).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(resampling(1, 1.3, 0.1), [[1]])


def test_a_view_keeps_sides_unless_it_may_mirror_them() -> None:
    frames = np.zeros((4, 1, 20, 20), np.uint8)
    frames[:, :, :, 14:] = 200
    sides = set()
    for mirror in (False, True):
        rng = np.random.default_rng(2)
        for _ in range(40):
            varied = vary_pixels(frames, ClipAugmentation(mirror=mirror, erase_share=0), rng)
            right = varied[..., 10:].mean() > varied[..., :10].mean()
            sides.add((mirror, bool(right)))
    assert sides == {(False, True), (True, True), (True, False)}


def test_what_is_erased_is_the_same_rectangle_in_all_frames() -> None:
    frames = np.full((5, 1, 20, 20), 100, np.uint8)
    rng = np.random.default_rng(0)
    varied = vary_pixels(frames, ClipAugmentation(0, 0, 0, 0, 0, 0, erase=0.5, erase_share=1), rng)
    changed = varied[:, 0] != 100
    assert 0 < changed[0].mean() <= 0.25
    assert (changed == changed[0]).all()


def test_views_are_of_the_random_source_alone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 1, 12, 12)).astype(np.uint8)
    one, two = (vary_pixels(frames, ClipAugmentation(), np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
