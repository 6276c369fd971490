"""Frames of real files, and of files that only look like videos."""

import socket
import struct
import threading
from typing import Any

import numpy as np
import pytest

from app.arrays import Array
from app.media.errors import MediaError
from app.media.frame_selection import select_frames
from app.media.limits import MediaLimits
from app.media.video import decode_video
from tests.support.factories.clips import encode, moving_square, sound

LIMITS = MediaLimits()


def decoded(content: bytes, limits: MediaLimits = LIMITS, **options: Any) -> dict[str, Any]:
    return decode_video(content, limits, **{"size": 16, "color": False, "frames": 8} | options)


def flat(level: int, height: int = 32, width: int = 48) -> Array:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp4", "libx264"),
        ("mp4", "mpeg4"),
        ("avi", "mpeg4"),
        ("webm", "libvpx-vp9"),
        ("matroska", "mjpeg"),
        ("mov", "mpeg4"),
        ("mpegts", "mpeg2video"),
    ],
)
def test_every_usual_container_and_codec_is_read(container: str, codec: str) -> None:
    frames = moving_square(right=True, count=10)
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    result = decoded(encode(frames, container=container, codec=codec, rate=25, pixels=pixels))
    assert (result["count"], result["width"], result["height"]) == (10, 40, 32)
    assert result["frames"].shape == (8, 1, 16, 16)
    assert result["frames"].dtype == np.uint8
    centers = [frame[0].astype(float).sum(0).argmax() for frame in result["frames"]]
    assert centers[0] < centers[-1]


def test_odd_sizes_and_frames_that_refer_to_later_ones() -> None:
    frames = moving_square(right=True, count=20, height=97, width=113)
    content = encode(frames, codec="libx264", pixels="yuv444p")
    result = decoded(content, frames=20, size=48, fit="stretch")
    assert (result["count"], result["width"], result["height"]) == (20, 113, 97)
    centers = [int(frame[0].astype(float).sum(0).argmax()) for frame in result["frames"]]
    assert centers == sorted(centers)


def test_colors_are_red_green_and_blue() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[:, :, 0] = 250
    frames = decoded(encode([red] * 3), color=True)["frames"]  # (3, 3, 16, 16)
    means = frames.mean(axis=(0, 2, 3))
    assert means[0] > 200
    assert max(means[1:]) < 40


def test_frames_are_spread_over_the_clip_or_a_stride_apart() -> None:
    content = encode([flat(10 * number) for number in range(20)])
    spread = decoded(content, frames=4)["frames"].mean(axis=(1, 2, 3))
    apart = decoded(content, frames=4, stride=3)["frames"].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(spread, [20, 70, 120, 170], atol=6)
    np.testing.assert_allclose(apart, [0, 30, 60, 90], atol=6)
    assert len(decoded(content, frames=64)["frames"]) == 20


@pytest.mark.parametrize(
    ("count", "frames", "stride", "expected"),
    [
        (1, 4, None, [0]),
        (4, 4, None, [0, 1, 2, 3]),
        (9, 3, None, [1, 4, 7]),
        (10, 1, None, [5]),
        (10, 3, 4, [0, 4, 8]),
        (10, 2, 4, [0, 4]),
        (3, 5, 100, [0]),
    ],
)
def test_selected_frames(count: int, frames: int, stride: int | None, expected: list[int]) -> None:
    assert select_frames(count, frames, stride).tolist() == expected


def test_a_frame_becomes_a_square() -> None:
    frame = flat(0, 32, 64)
    frame[:, 16:48] = 255  # what a cropped frame shows
    content = encode([frame] * 2)
    crop, pad, stretch = (decoded(content, fit=fit)["frames"][0, 0] for fit in ("crop", "pad", "stretch"))
    assert crop.mean() > 225
    assert pad[:3].max() < 40  # the bar
    assert pad[6:10, 6:10].min() > 200
    assert stretch[:, :3].max() < 60
    assert stretch[:, 6:10].min() > 200


def test_very_long_frames_are_squeezed() -> None:
    result = decoded(encode([flat(99, 16, 1600)] * 2))
    assert result["frames"].shape == (2, 1, 16, 16)


def rotated(content: bytes) -> bytes:
    """The file with a display matrix that turns it by 90 degrees."""
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    position = content.index(identity, content.index(b"tkhd"))
    return content[:position] + turned + content[position + len(identity) :]


def test_frames_are_turned_upright() -> None:
    frame = flat(0, 32, 32)
    frame[:8] = 255  # the upper edge, which the matrix turns to the right
    upright = decoded(rotated(encode([frame] * 2)))["frames"][0, 0]
    assert upright[:, -3:].min() > 200
    assert upright[:, :8].max() < 60


def test_one_frame_is_a_clip() -> None:
    for content in (encode([flat(50)]), encode([flat(50)], container="gif", codec="gif", pixels="rgb8")):
        assert decoded(content)["frames"].shape == (1, 1, 16, 16)


@pytest.mark.parametrize("rate", [1, 1000, 10**6])
def test_time_stamps_do_not_matter(rate: int) -> None:
    frames = [flat(20 * number) for number in range(8)]
    content = encode(frames, rate=rate, codec="mjpeg", container="matroska", pixels="yuvj420p")
    levels = decoded(content)["frames"].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, range(0, 160, 20), atol=6)
    stamps = [0, 1, 2, 50, 51, 400, 401, 402]
    varied = encode(frames, stamps=stamps, codec="mjpeg", container="matroska", pixels="yuvj420p")
    np.testing.assert_allclose(decoded(varied)["frames"].mean(axis=(1, 2, 3)), levels, atol=6)


def test_the_size_may_change_in_the_middle() -> None:
    small = [
        encode([flat(level, 32, 32)] * 3, container="mpegts", codec="mpeg2video", rate=25)
        for level in (50, 99)
    ]
    large = encode([flat(200, 64, 64)] * 3, container="mpegts", codec="mpeg2video", rate=25)
    result = decoded(small[0] + large + small[1], frames=20)
    assert result["frames"].shape[1:] == (1, 16, 16)
    levels = set(np.round(result["frames"].mean(axis=(1, 2, 3)), -1).tolist())
    assert {50.0, 200.0} <= levels


def test_damage_costs_frames_and_not_the_clip() -> None:
    content = bytearray(encode(moving_square(right=True, count=20), codec="mjpeg", pixels="yuvj420p"))
    middle = len(content) // 3
    content[middle : middle + 200] = bytes(200)
    assert len(decoded(bytes(content), frames=20)["frames"]) >= 15


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a video that can be read"),
        (b"no video at all", "is not a video that can be read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is not a video: it is a PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "is not a video: it is a JPEG image"),
        (b"MThd\0\0\0\6\0\0\0\1\0\x60", "is not a video: it is a MIDI file"),
        (b"<html></html>", "is not a video: it is an HTML page"),
        (b"<?xml version='1.0'?><svg/>", "is not a video: it is an XML document"),
        (b"\n ffconcat version 1.0\nfile /etc/passwd\n", "is not a video: it is a playlist"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "is not a video: it is a playlist"),
        (b"ID3\4\0\0\0\0\0\0\xff\xfb\x90\x64" + bytes(50), "is not a video: it is a file in MP3 format"),
    ],
)
def test_other_files_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(MediaError, match=reason):
        decoded(content)


def test_sound_alone_is_no_video() -> None:
    for content in (sound(), sound(container="wav", codec="pcm_s16le"), sound(container="ogg", codec="flac")):
        with pytest.raises(MediaError, match="has only sound"):
            decoded(content)


def test_a_file_that_is_cut_off_or_without_frames_is_refused() -> None:
    content = encode(moving_square(right=True))
    with pytest.raises(MediaError, match="is not a video that can be read"):
        decoded(content[: content.index(b"moov") - 4])
    start = content.index(b"mdat") + 4
    empty = (
        content[:start] + bytes(content.index(b"moov") - 4 - start) + content[content.index(b"moov") - 4 :]
    )
    with pytest.raises(MediaError, match=r"has no frame of .* that can be decoded|is not a video"):
        decoded(empty)


def test_too_many_frames_are_refused_before_they_are_decoded() -> None:
    content = encode([flat(9)] * 30)
    with pytest.raises(MediaError, match="has more than 20 frames"):
        decoded(content, MediaLimits(frames=20))
    assert decoded(content, MediaLimits(frames=30))["count"] == 30


def test_frames_of_too_many_pixels_are_refused() -> None:
    content = encode([flat(9, 64, 64)] * 2)
    with pytest.raises(MediaError, match=r"no frame of at most 4,000 pixels"):
        decoded(content, MediaLimits(frame_pixels=4_000))


def test_a_header_that_lies_about_the_size_is_no_reason_to_allocate() -> None:
    content = encode([flat(9, 64, 64)] * 2)
    entry = content.index(b"mp4v") + 4 + 24  # of the sample description: width and height follow
    assert struct.unpack(">2H", content[entry : entry + 4]) == (64, 64)
    lying = content[:entry] + struct.pack(">2H", 65_535, 65_535) + content[entry + 4 :]
    try:
        assert decoded(lying)["frames"].shape == (2, 1, 16, 16)  # the stream itself says the truth
    except MediaError as error:
        assert "pixels" in str(error) or "read" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXTINF:1,\n{}\n",
        "ffconcat version 1.0\nfile '{}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video {} x\n",
    ],
)
def test_nothing_else_is_opened(playlist: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        port = server.getsockname()[1]
        connected: list[object] = []

        def listen() -> None:
            try:
                connected.append(server.accept())
            except TimeoutError:
                return

        listener = threading.Thread(target=listen)
        listener.start()
        for target in (f"http://127.0.0.1:{port}/a.ts", "file:///etc/passwd", str(port)):
            with pytest.raises(MediaError, match="is not a video"):
                decoded(playlist.format(target).encode())
        listener.join()
    assert connected == []
