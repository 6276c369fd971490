"""How much one media file may ask of the process that decodes it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaLimits:
    """The limits of decoding one file."""

    seconds: float = 30.0  # processor seconds for one file
    memory_bytes: int = 1 << 30
    audio_seconds: float = 600.0
    frame_pixels: int = 64_000_000
    frames: int = 2000
    midi_events: int = 1_000_000
