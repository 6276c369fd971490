"""Small clips, made by FFmpeg's encoders in memory, and archives of them."""

import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np

from app.arrays import Array


def moving_square(
    right: bool, *, count: int = 12, height: int = 32, width: int = 40, seed: int = 0
) -> list[Array]:
    """Frames (height, width, 3) uint8 of a bright square that moves to one side."""
    rng = np.random.default_rng(seed)
    top, side = int(rng.integers(2, height - 12)), 8
    frames = []
    for step in range(count):
        frame = rng.integers(0, 40, (height, width, 3)).astype(np.uint8)
        left = round(step * (width - side) / max(count - 1, 1))
        left = left if right else width - side - left
        frame[top : top + side, left : left + side] = 220
        frames.append(frame)
    return frames


def encode(
    frames: Sequence[Array],
    *,
    container: str = "mp4",
    codec: str = "mpeg4",
    rate: int = 12,
    stamps: Sequence[int] | None = None,
    pixels: str = "yuv420p",
) -> bytes:
    """A file of some frames (height, width, 3) uint8, which have one size."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], pixels
        stream.codec_context.time_base = Fraction(1, rate)
        for number, pixels_ in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_, format="rgb24")
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return buffer.getvalue()


def sound(*, container: str = "mp4", codec: str = "aac") -> bytes:
    """A file with a second of silence and no video."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="flt", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return buffer.getvalue()


def archive(members: dict[str, bytes], lines: Iterable[object]) -> bytes:
    """A zip file of some members, and a manifest of these lines."""
    buffer = io.BytesIO()
    manifest = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
        file.writestr("manifest.jsonl", manifest)
    return buffer.getvalue()


def sides(count: int = 24) -> bytes:
    """An archive of clips in which a square moves to the left or to the right, as the label says."""
    members, lines = dict[str, bytes](), list[object]()
    for number in range(count):
        label = ("left", "right")[number % 2]
        name = f"clips/{number:03}.mp4"
        members[name] = encode(moving_square(label == "right", count=6 + number % 5, seed=number))
        lines.append({"video": name, "label": label})
    return archive(members, lines)
