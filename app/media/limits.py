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

    @property
    def memory_exceeded(self) -> str:
        """What is wrong with a file that needs more memory, as the end of a sentence about it."""
        return f"needs more than {self.memory_bytes >> 20} MiB of memory to be decoded"

    @property
    def time_exceeded(self) -> str:
        """What is wrong with a file that takes longer, as the end of a sentence about it."""
        return f"could not be decoded in {self.seconds:g} seconds"
