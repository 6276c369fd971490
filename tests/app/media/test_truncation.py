"""A file that was cut off is recognised by what its container declares, whatever its kind."""

from typing import Any

import numpy as np
import pytest

from app.media.decoder import MediaDecoder
from app.media.errors import MediaError
from app.media.sniffing import detect_container
from app.media.truncation import is_cut_off
from tests.support.factories.clips import encode, moving_square
from tests.support.factories.recordings import RATE, muxed, tone, written

NOISE = np.random.default_rng(0).normal(0, 0.2, (4 * RATE, 1))
SOUNDS = {
    "WAV": written(NOISE),
    "AIFF": written(NOISE, container="AIFF"),
    "AU": written(NOISE, container="AU"),
    "FLAC": written(NOISE, container="FLAC"),
    "Ogg Vorbis": written(NOISE, container="OGG", subtype="VORBIS"),
    "Ogg Opus": written(NOISE, container="OGG", subtype="OPUS"),
    "MP3": written(NOISE, 16_000, container="MP3"),
    "Matroska": muxed(4.0, container="matroska", codec="aac"),
    "M4A": muxed(4.0),
}
FRAMES = moving_square(right=True, count=200)
CLIPS = {
    "MP4": encode(FRAMES),
    "WebM": encode(FRAMES, container="webm", codec="libvpx"),
    "AVI": encode(FRAMES, container="avi", codec="mjpeg", pixels="yuvj420p"),
    "GIF": encode(FRAMES, container="gif", codec="gif", pixels="rgb8"),
}

REFUSED = {"M4A", "MP4", "FLAC"}  # whose index is at the end, or whose last frame cannot be decoded


def shortened(decoder: MediaDecoder, kind: str, content: bytes) -> Any:
    options = {} if kind == "audio" else {"size": 8, "color": False, "frames": 4}
    return decoder.decode(kind, content, options)["shortened"]


@pytest.fixture(scope="module")
def decoder() -> Any:
    with MediaDecoder() as one:
        yield one


@pytest.mark.parametrize(
    ("kind", "name"), [*(("audio", name) for name in SOUNDS), *(("video", name) for name in CLIPS)]
)
def test_a_file_that_is_cut_off_says_so_and_a_whole_one_does_not(
    decoder: MediaDecoder, kind: str, name: str
) -> None:
    content = (SOUNDS | CLIPS)[name]
    assert shortened(decoder, kind, content) is False
    assert shortened(decoder, kind, content + bytes(40)) is False  # something was added
    for share in (0.6, 0.8):
        part = content[: int(share * len(content))]
        if name in REFUSED:
            with pytest.raises(MediaError, match=r"is damaged|is not a video"):
                shortened(decoder, kind, part)
        else:
            assert shortened(decoder, kind, part) is True


@pytest.mark.parametrize("content", [*SOUNDS.values(), *CLIPS.values()])
def test_headers_that_are_cut_off_are_passed_over(content: bytes) -> None:
    container, _ = detect_container(content)
    for size in range(200):
        assert is_cut_off(memoryview(content[:size]), container) in {True, False}


def test_streamed_files_declare_no_length() -> None:
    content = bytearray(written(tone()))
    content[40:44] = b"\xff" * 4
    assert not is_cut_off(memoryview(bytes(content)), "WAV")
