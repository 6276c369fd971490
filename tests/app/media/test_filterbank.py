"""Features are those of Kaldi, in this process and in the decoding child."""

import numpy as np
import pytest

from app.media.decoder import MediaDecoder
from app.media.filterbank import frame_count, has_room, log_mel
from tests.support.factories.recordings import RATE, pcm, tone, written


@pytest.mark.parametrize("samples", [1, 79, 80, 100, 3_999, 4_000, 4_039, 4_040])
def test_there_is_a_frame_every_ten_milliseconds(samples: int) -> None:
    energies = log_mel(np.ones(samples, np.int16), RATE, 40)
    assert energies.shape == (frame_count(samples, RATE), 40)
    assert frame_count(samples, RATE) == max(1, round(samples / 80 + 1e-9))


def test_a_higher_tone_is_in_a_higher_band_and_silence_is_bounded() -> None:
    low, high = (log_mel(pcm(pitch=pitch), RATE, 40).mean(axis=0).argmax() for pitch in (300.0, 2_000.0))
    assert low < high
    assert log_mel(np.zeros(8_000, np.int16), RATE, 40) == pytest.approx(2.0)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_000, 16_000])
def test_more_bands_than_there_is_room_for_are_known_beforehand(rate: int) -> None:
    for bins in range(60, 129):
        try:
            log_mel(np.ones(rate // 10, np.int16), rate, bins)
        except ValueError:
            assert not has_room(rate, bins), bins
        else:
            assert has_room(rate, bins), bins


def test_the_decoding_child_computes_the_same() -> None:
    content = written(tone(rate=44_100), 44_100)
    with MediaDecoder() as decoder:
        samples = decoder.decode("audio", content, {"sample_rate": RATE})
        energies = decoder.decode("audio", content, {"sample_rate": RATE, "mel_bins": 40})
    assert np.array_equal(energies["energies"], log_mel(samples["samples"], RATE, 40))
    assert "samples" not in energies
    assert energies["seconds"] == samples["seconds"]
