"""Ordinary audio files are decoded, hostile ones are refused with what is wrong with them."""

import struct
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from app.media.decoder import MediaDecoder
from app.media.errors import MediaError
from app.media.limits import MediaLimits
from tests.support.factories.recordings import RATE, broken_recordings, muxed, tone, wav_header, written


@pytest.fixture(scope="module")
def decoder() -> Iterator[MediaDecoder]:
    with MediaDecoder(MediaLimits(audio_seconds=60.0)) as made:
        yield made


def refusal(decoder: MediaDecoder, content: bytes) -> str:
    with pytest.raises(MediaError) as error:
        decoder.decode("audio", content, {"max_sample_rate": 16_000})
    return str(error.value)


ORDINARY = {
    "8 bits": written(tone(), RATE, "WAV", "PCM_U8"),
    "24 bits": written(tone(rate=44_100), 44_100, "WAV", "PCM_24"),
    "mu-law": written(tone(), RATE, "WAV", "ULAW"),
    "a-law": written(tone(), RATE, "WAV", "ALAW"),
    "float": written(tone(rate=96_000), 96_000, "WAV", "FLOAT"),
    "ADPCM": written(tone(), RATE, "WAV", "IMA_ADPCM"),
    "stereo": written(tone(channels=2), RATE),
    "FLAC": written(tone(rate=44_100, channels=2), 44_100, "FLAC"),
    "Vorbis": written(tone(), RATE, "OGG", "VORBIS"),
    "Opus": written(tone(rate=48_000), 48_000, "OGG", "OPUS"),
    "MP3": written(tone(rate=44_100), 44_100, "MP3"),
    "AIFF": written(tone(), RATE, "AIFF"),
    "M4A": muxed(),
    "WebM": muxed(rate=48_000, container="webm", codec="libopus"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_files_are_decoded_to_a_tone_of_the_right_length(decoder: MediaDecoder, name: str) -> None:
    decoded = decoder.decode("audio", ORDINARY[name], {"sample_rate": 8_000})
    samples = decoded["samples"]
    assert samples.dtype == np.int16
    assert decoded["sample_rate"] == 8_000
    assert decoded["seconds"] == pytest.approx(0.5, abs=0.12 if name in {"M4A", "MP3", "WebM"} else 0.04)
    spectrum = np.abs(np.fft.rfft(samples[800:3_200]))
    assert np.argmax(spectrum) * 8_000 / 2_400 == pytest.approx(440, abs=10)


def test_a_rate_is_kept_up_to_the_greatest_that_is_wanted(decoder: MediaDecoder) -> None:
    for rate, kept in ((8_000, 8_000), (44_100, 16_000)):
        assert (
            decoder.decode("audio", written(tone(rate=rate), rate), {"max_sample_rate": 16_000})[
                "sample_rate"
            ]
            == kept
        )


def test_a_single_sample_and_ten_milliseconds_are_audio(decoder: MediaDecoder) -> None:
    for seconds, rate in ((1 / RATE, RATE), (0.01, 44_100), (1 / 96_000, 96_000)):
        decoded = decoder.decode("audio", written(tone(seconds, rate), rate), {"sample_rate": 8_000})
        assert len(decoded["samples"]) >= 1


def test_the_content_decides_not_the_name(decoder: MediaDecoder) -> None:
    kinds = {
        "a PNG image": b"\x89PNG\r\n\x1a\n" + bytes(40),
        "an HTML page": b"<!DOCTYPE html><html></html>",
        "a MIDI file": b"MThd\0\0\0\x06\0\0\0\x01\0\x60",
        "a zip archive": b"PK\x03\x04" + bytes(40),
        "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "text": b"hello",
        "empty": b"",
    }
    for kind, content in kinds.items():
        assert refusal(decoder, content) == f"is not audio: it is {kind}"
    assert refusal(decoder, muxed(container="mp4", video=True)) == "has no audio track"


def test_broken_wav_headers_are_refused(decoder: MediaDecoder) -> None:
    many_chunks = wav_header(0)[:36] + (b"LIST" + struct.pack("<I", 4) + b"abcd") * 5_000 + b"data"
    spoiled = broken_recordings() | {"chunks": many_chunks}
    for name, content in spoiled.items():
        assert refusal(decoder, content), name
    assert "1 Hz" in refusal(decoder, spoiled["rate 1"])
    assert "255 channels" in refusal(decoder, spoiled["255 channels"])


@pytest.mark.parametrize(("bits", "align"), [(7, 2), (64, 2), (16, 0), (16, 3)])
def test_odd_wav_headers_are_decoded_or_refused_without_harm(
    decoder: MediaDecoder, bits: int, align: int
) -> None:
    sound = written(tone())[44:]
    with suppress(MediaError):
        decoder.decode("audio", wav_header(len(sound), bits=bits, align=align) + sound, {})
    assert decoder.decode("audio", ORDINARY["8 bits"], {})["seconds"] == pytest.approx(0.5)


@pytest.mark.parametrize("size", [1_150_000_000, 2**32 - 1])
def test_a_header_that_claims_hours_costs_nothing(decoder: MediaDecoder, size: int) -> None:
    decoded = decoder.decode("audio", wav_header(size) + written(tone(1.0))[44:], {})
    assert decoded["seconds"] == pytest.approx(1.0)
    assert decoded["shortened"] == (size != 2**32 - 1)


def test_a_clip_longer_than_the_limit_is_refused_without_decoding_all(decoder: MediaDecoder) -> None:
    silence = written(np.zeros((RATE * 3_600, 1)), RATE, "FLAC")
    assert len(silence) < 1 << 20
    assert refusal(decoder, silence) == "is longer than 60 seconds"
    wide = written(np.zeros((192_000 * 61, 1), np.int16), 192_000, "FLAC")
    assert refusal(decoder, wide) == "is longer than 60 seconds"


def test_metadata_is_skipped(decoder: MediaDecoder) -> None:
    sound = written(tone(rate=44_100), 44_100, "MP3")
    for size in (200_000, 8 << 20):
        encoded = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
        tagged = b"ID3\x04\0\0" + encoded + bytes(size) + sound
        assert decoder.decode("audio", tagged, {})["seconds"] == pytest.approx(0.5, abs=0.1)
    assert "ID3" in refusal(decoder, b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + sound)
    riff = written(tone())
    marked = riff[:12] + b"id3 " + struct.pack("<I", 1 << 16) + bytes(1 << 16) + riff[12:]
    assert decoder.decode("audio", marked, {})["seconds"] == pytest.approx(0.5)
