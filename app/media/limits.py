"""Bounds on one media file, whatever its header claims."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaLimits:
    """What the decoding of one file may take, and what it may contain."""

    file_bytes: int = 128 << 20
    seconds: float = 30.0  # processor seconds
    memory_bytes: int = 1 << 30  # address space beyond what the idle child has
    audio_seconds: float = 600.0
    frame_pixels: int = 64_000_000
    frames: int = 2000  # decoded video frames
    midi_events: int = 1_000_000
