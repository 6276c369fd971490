"""Metrics of a language model of music, and what can be said of a piece: its key, its range, its validity."""

from collections.abc import Sequence

import numpy as np

from app.arrays import Array
from app.tasks.music.codings.pieces import MELODIC_KEYS, OCTAVE, Note
from app.typedefs import Json

NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# How well each degree fits a key: Krumhansl (1990), "Cognitive foundations of musical pitch", table 2.1.
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10, 11)  # with the leading note of the harmonic scale
MODES = (("major", MAJOR_PROFILE, MAJOR_SCALE), ("minor", MINOR_PROFILE, MINOR_SCALE))


def likelihood_metrics(nats: Array, steps: int) -> Json:
    """The mean negative log-likelihood in nats of events (events,), and their sum by time steps."""
    total = float(nats.sum())
    return {"nats_per_event": round(total / len(nats), 6), "nats_per_step": round(total / steps, 6)}


def describe_notes(notes: Sequence[Note], events: int, invalid: int) -> Json:
    """Statistics of a composed piece; those of pitches are None where it has none."""
    pitched = [note for note in notes if note.key < MELODIC_KEYS]
    pitches = [note.key for note in pitched]
    key, share = find_key(pitched)
    return {
        "notes": len(notes),
        "valid_events": round(1 - invalid / events, 4) if events else None,
        "key": key,
        "notes_in_key": share,
        "lowest_pitch": min(pitches, default=None),
        "highest_pitch": max(pitches, default=None),
    }


def find_key(notes: Sequence[Note]) -> tuple[str | None, float | None]:
    """The key that fits notes best, such as "G major", and the share of their time that is in its scale.

    By correlation with key profiles weighted by time: Krumhansl & Schmuckler, in Krumhansl (1990), chapter 4.
    """
    time = np.zeros(OCTAVE)
    for note in notes:
        time[note.key % OCTAVE] += note.end - note.start
    if not time.any():
        return None, None
    fits = []
    for mode, profile, scale in MODES:
        shape = np.array(profile) - np.mean(profile)
        centred = time - time.mean()
        for tonic in range(OCTAVE):
            in_key = time[[(tonic + degree) % OCTAVE for degree in scale]].sum() / time.sum()
            fits.append((float(np.roll(shape, tonic) @ centred) / np.linalg.norm(shape), tonic, mode, in_key))
    _, tonic, mode, in_key = max(fits)
    return f"{NAMES[tonic]} {mode}", round(float(in_key), 4)
