"""Frames of a video as small arrays, by FFmpeg's libraries. Only the decoding child imports this module."""

import io
from collections.abc import Iterator
from typing import Any, Literal, NoReturn

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from app.media.errors import MediaError
from app.media.frame_selection import select_frames
from app.media.limits import MediaLimits
from app.media.sniffing import VIDEO, describe_content, detect_container
from app.media.truncation import is_cut_off

Pixels = npt.NDArray[np.uint8]
Fit = Literal["crop", "pad", "stretch"]

# FFmpeg's names of the containers that are read. None of them plays a list of other files. Of wav only
# the kind is read, for a message.
CONTAINERS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "gif", "mpegts", "mpeg", "ogg",
    "flv", "asf", "wav",
)  # fmt: skip
MAX_ASPECT = 8  # of the longer side of a frame to the shorter one; what is longer is squeezed
MAX_PROBE_BYTES = 5 << 20
MAX_PROBE_MICROSECONDS = 5_000_000


def decode_video(
    content: bytes,
    limits: MediaLimits,
    *,
    size: int,
    color: bool,
    frames: int,
    stride: int | None = None,
    fit: Fit = "crop",
) -> dict[str, Any]:
    """Some frames of the first video stream, `frames` (time, channels, size, size) uint8, and facts of it.

    With a `stride` each stride-th frame from the first one on, without it frames that are evenly spread over
    the clip; at most `frames` of them in either case. One channel is gray, three are red, green and blue.
    Frames are turned upright. `count`, `width` and `height` are those of the decoded frames before any of
    this, `seconds` the duration, or None where the file does not say, `shortened` whether it ends before its
    header says. Time stamps do not matter: frames are counted. Raises `MediaError`.
    """
    count = _count_packets(content, limits)
    shrink = _Shrink(size, fit, color=color)
    selected, decoded = _decode_selected(content, limits, select_frames(count, frames, stride), shrink)
    if decoded != count and decoded:  # damaged or hidden frames: spread over those that there are
        selected, decoded = _decode_selected(content, limits, select_frames(decoded, frames, stride), shrink)
    if not selected:
        raise MediaError(f"has no frame of at most {limits.frame_pixels:,} pixels that can be decoded")
    return {
        "frames": np.stack(selected),
        "count": decoded,
        "width": shrink.width,
        "height": shrink.height,
        "seconds": shrink.seconds,
        "shortened": is_cut_off(memoryview(content), detect_container(content)[0]),
    }


class _Shrink:
    """Turns decoded frames into small upright arrays of one shape; remembers what the last one was like."""

    def __init__(self, size: int, fit: Fit, *, color: bool) -> None:
        self._size, self._fit, self._format = size, fit, "rgb24" if color else "gray"
        self._scaler = VideoReformatter()
        self.width = self.height = 0
        self.seconds: float | None = None

    def array(self, frame: av.VideoFrame) -> Pixels:
        """The frame as (channels, size, size) uint8."""
        width, height = self._scaled(frame.width, frame.height)
        small: Any = self._scaler.reformat(
            frame, width, height, self._format, interpolation=Interpolation.AREA, threads=1
        ).to_ndarray()  # (height, width) or (height, width, 3)
        pixels = small[:, :, None] if small.ndim == 2 else small
        upright = np.rot90(pixels, round(frame.rotation / 90)) if frame.rotation else pixels
        return np.ascontiguousarray(self._square(upright).transpose(2, 0, 1))

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the whole frame after scaling: one side, or both, are as the result's."""
        if self._fit == "stretch":
            return self._size, self._size
        short, long = min(width, height), max(width, height)
        ratio = min(long / short, MAX_ASPECT)
        sides = (self._size, round(self._size * ratio))
        if self._fit == "pad":
            sides = (max(1, round(self._size / ratio)), self._size)
        return sides if width <= height else sides[::-1]

    def _square(self, pixels: Pixels) -> Pixels:
        """The center of (height, width, channels), or all of it between black bars."""
        for axis in (0, 1):
            extra = pixels.shape[axis] - self._size
            if extra > 0:
                pixels = pixels.take(range(extra // 2, extra // 2 + self._size), axis)
            elif extra < 0:
                margins = [(0, 0)] * 3
                margins[axis] = (-extra // 2, -extra - -extra // 2)
                pixels = np.pad(pixels, margins)
        return pixels


def _open(content: bytes, limits: MediaLimits) -> tuple[InputContainer, VideoStream]:
    """The container and its first video stream; raises `MediaError`."""
    options = {
        "format_whitelist": ",".join(CONTAINERS),
        "protocol_whitelist": "none",
        "max_pixels": str(limits.frame_pixels),
        "probesize": str(MAX_PROBE_BYTES),
        "analyzeduration": str(MAX_PROBE_MICROSECONDS),
    }
    kind, start = detect_container(content)
    if start or kind not in VIDEO:
        raise MediaError(f"is not a video: it is {describe_content(content)}")
    try:
        container = av.open(
            io.BytesIO(content), "r", options=options, metadata_errors="replace", io_open=_refuse
        )
    except (av.error.FFmpegError, OSError, ValueError, OverflowError):
        raise MediaError("is not a video that can be read") from None
    pictures = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not streams:
        has_sound = bool(container.streams.audio)
        container.close()
        raise MediaError("has only sound" if has_sound else "has no video stream")
    stream = streams[0]
    pixels = stream.codec_context.width * stream.codec_context.height
    if pixels > limits.frame_pixels:
        container.close()
        raise MediaError(_too_large(stream.codec_context.width, stream.codec_context.height, limits))
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(limits.frame_pixels)}
    return container, stream


def _refuse(*_: object) -> NoReturn:
    """No file opens another one."""
    raise MediaError("refers to another file")


def _too_large(width: int, height: int, limits: MediaLimits) -> str:
    return f"has frames of {width} × {height} pixels; at most {limits.frame_pixels:,} pixels are decoded"


def _count_packets(content: bytes, limits: MediaLimits) -> int:
    """How many frames the first video stream seems to have, without decoding any."""
    container, stream = _open(content, limits)
    count = 0
    with container:
        try:
            for packet in container.demux(stream):
                count += packet.size > 0
                if count > limits.frames:
                    raise MediaError(f"has more than {limits.frames:,} frames")
        except (av.error.FFmpegError, OSError):
            pass  # what is behind the damage is not read; the decoder says how much there is before it
    return count


def _decode_selected(
    content: bytes, limits: MediaLimits, selected: npt.NDArray[np.int64], shrink: _Shrink
) -> tuple[list[Pixels], int]:
    """The selected frames as arrays, and the number of all frames that could be decoded."""
    container, stream = _open(content, limits)
    wanted, arrays, count = set(selected.tolist()), list[Pixels](), 0
    with container:
        if stream.duration is not None and stream.time_base is not None:
            shrink.seconds = float(stream.duration * stream.time_base)
        for frame in _decodable(container, stream):
            if frame.width * frame.height > limits.frame_pixels:
                raise MediaError(_too_large(frame.width, frame.height, limits))
            if count in wanted:
                arrays.append(shrink.array(frame))
            shrink.width, shrink.height = frame.width, frame.height
            count += 1
            if count > limits.frames:
                raise MediaError(f"has more than {limits.frames:,} frames")
    return arrays, count


def _decodable(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """The frames in order of presentation; damaged ones are left out."""
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                continue
    except (av.error.FFmpegError, OSError):
        return
