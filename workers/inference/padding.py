"""Padding: sequences of different lengths as one array, and the few lengths that batches are padded to."""

MAX_BATCH_FLOATS = 1 << 24  # of one padded batch: 64 MiB


def bucket(steps: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24 …: less than a third more."""
    power = 1 << (steps - 1).bit_length()
    return power * 3 // 4 if steps <= power * 3 // 4 else power
