"""Normalization removes a microphone, and views stay views of the clip."""

import numpy as np
import pytest

from app.media.filterbank import log_mel
from app.tasks.speech.augmentation import Augmentation, exchange_pauses, hide
from app.tasks.speech.encoding import cut_at_silences, normalize_parts
from app.tasks.speech.features import FeatureMoments, normalize
from tests.support.factories.recordings import RATE, pcm


def test_normalization_by_clip_removes_loudness() -> None:
    moments = FeatureMoments(40)
    quiet, loud = log_mel(pcm() // 4, RATE, 40), log_mel(pcm(), RATE, 40)
    moments.add(quiet)
    moments.add(loud)
    by_clip = [normalize(one, moments.to_json(), by_clip=True) for one in (quiet, loud)]
    by_data = [normalize(one, moments.to_json(), by_clip=False) for one in (quiet, loud)]
    assert np.abs(by_clip[0] - by_clip[1]).mean() < 0.5 * np.abs(by_data[0] - by_data[1]).mean()
    assert np.concatenate(by_data).mean() == pytest.approx(0.0, abs=0.02)


def test_long_audio_is_cut_where_it_is_quiet() -> None:
    energies = np.full((6_000, 40), 10.0, np.float32)
    pauses = [1_500, 3_100, 4_700]
    for pause in pauses:
        energies[pause - 20 : pause + 20] = 2.0
    starts = cut_at_silences(energies, 3)
    assert starts[0] == 0
    assert all(min(abs(start - pause) for pause in pauses) <= 20 for start in starts[1:])
    assert all(start % 3 == 0 for start in starts)
    assert np.diff([*starts, 6_000]).max() <= 2_000
    assert cut_at_silences(energies[:2_000], 3) == [0]


def test_parts_cover_the_clip_and_are_normalized_alone() -> None:
    energies = np.random.default_rng(0).normal(10, 1, (5_001, 8)).astype(np.float32)
    state = {"stride": 3, "by_clip": True, "moments": {"mean": [0.0] * 8, "scale": [1.0] * 8}}
    frames, starts = normalize_parts(energies, state)
    assert frames.shape == energies.shape
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        assert frames[start:end].mean(axis=0) == pytest.approx(0.0, abs=0.01)


def test_views_are_seeded_and_never_too_short() -> None:
    frames = np.random.default_rng(0).normal(size=(200, 40)).astype(np.float32)
    augmentation = Augmentation(speed=0.2, warp=0.1, masking=0.3, pauses=True)
    one, other = (augmentation.view(frames, 0, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    lengths = {len(augmentation.view(frames, 190, np.random.default_rng(seed))) for seed in range(30)}
    assert 190 <= min(lengths) < 200 < max(lengths) <= 250
    plain = Augmentation(0.0, 0.0, 0.0, pauses=False).view(frames, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(plain, frames)
    assert plain is not frames


def test_hiding_leaves_most_of_a_spectrum() -> None:
    hidden = []
    for seed in range(50):
        frames = np.ones((300, 40), np.float32)
        hide(frames, 0.2, np.random.default_rng(seed))
        hidden.append(float((frames == 0).mean()))
    assert 0.1 < np.mean(hidden) < 0.4
    assert max(hidden) < 0.6


def test_pauses_exchange_their_lengths_and_what_is_spoken_stays_in_order() -> None:
    rng, pauses = np.random.default_rng(0), (90, 15, 20, 30)
    spoken = [np.full((25, 8), level, np.float32) for level in (1.0, 2.0, 3.0)]
    quiet = [rng.normal(-2, 0.05, (count, 8)).astype(np.float32) for count in pauses]
    frames = np.concatenate(
        [quiet[0], *(part for pair in zip(spoken, quiet[1:], strict=True) for part in pair)]
    )
    beginnings = set()
    for seed in range(40):
        exchanged = exchange_pauses(frames, np.random.default_rng(seed))
        assert len(exchanged) == len(frames)
        levels = exchanged[:, 0]
        assert [int((levels == level).sum()) for level in (1.0, 2.0, 3.0)] == [25, 25, 25]
        assert (np.diff(levels[levels > 0]) >= 0).all()
        beginnings.add(int(np.argmax(levels > 0)))
    assert len(beginnings) == len(pauses)
    assert min(beginnings) < 20
    assert max(beginnings) > 80


@pytest.mark.parametrize("count", [1, 5, 60])
def test_a_clip_without_pauses_stays_as_it_is(count: int) -> None:
    frames = np.ones((count, 8), np.float32)
    np.testing.assert_array_equal(exchange_pauses(frames, np.random.default_rng(0)), frames)
