"""Bounds on the decoding of one file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaLimits:
    """What decoding one file may take, and how much of it is read."""

    seconds: float = 30.0  # of the processor, for one file
    memory_bytes: int = 1 << 30
    audio_seconds: float = 600.0
    frame_pixels: int = 64_000_000
    frames: int = 2000
    midi_events: int = 1_000_000
