"""Writes sound as a WAV file."""

import struct

from app.arrays import Array

HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
PCM, CHANNELS, SAMPLE_BYTES = 1, 1, 2


def wav_bytes(samples: Array, rate: int) -> bytes:
    """Int16 samples (n,) of one channel as a file."""
    data = samples.astype("<i2").tobytes()
    header = HEADER.pack(
        b"RIFF", HEADER.size - 8 + len(data), b"WAVE", b"fmt ", 16, PCM, CHANNELS, rate, SAMPLE_BYTES * rate,
        SAMPLE_BYTES, 8 * SAMPLE_BYTES, b"data", len(data),
    )  # fmt: skip
    return header + data
