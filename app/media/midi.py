"""MIDI files as notes: what `app.media.child` runs."""

from typing import Any

import numpy as np
import numpy.typing as npt
import symusic

from app.media.errors import MediaError
from app.media.limits import MediaLimits
from app.media.midi_chunks import CheckedMidi, check_midi

DRUM_KEYS = 128  # added to the pitch of a drum's note, so that no melody has the same key


def decode_midi(content: bytes, limits: MediaLimits) -> dict[str, Any]:
    """The notes of a file, in the order of their starts and keys; raises `MediaError`.

    `notes` (notes, 5) int64: start and end in ticks, key (the pitch, of drums 128 more), velocity, track;
    `tempos` (changes, 2) int64: tick, microseconds of a quarter note; `division`: ticks of a quarter note;
    `end`: tick of the end of the last track; `tracks`: the `program` of each track with notes;
    `warnings`: sentences' ends. A track of several channels or programs becomes several.
    """
    checked = check_midi(content, limits.midi_events)
    score = _parse(checked)
    tracks = [track for track in score.tracks if len(track.notes)]
    if not tracks:
        raise MediaError("has no notes")
    parts = [_notes_of(track, number) for number, track in enumerate(tracks)]
    notes = np.concatenate(parts)  # (notes, 5)
    notes = notes[np.lexsort((notes[:, 2], notes[:, 0]))]
    tempos = [(tempo.time, tempo.mspq) for tempo in score.tempos]
    return {
        "notes": notes,
        "tempos": np.array(tempos, np.int64).reshape(-1, 2),
        "division": checked.division,
        "end": max(checked.end, int(notes[:, 1].max())),
        "tracks": [{"program": int(track.program)} for track in tracks],
        "warnings": checked.warnings,
    }


def _parse(checked: CheckedMidi) -> Any:
    try:
        return symusic.Score.from_midi(checked.content)
    except (RuntimeError, ValueError, OverflowError, UnicodeError) as error:
        raise MediaError("is damaged and cannot be parsed") from error


def _notes_of(track: Any, number: int) -> npt.NDArray[np.int64]:
    """The notes of one track, (notes, 5) int64."""
    columns = track.notes.numpy()
    start = columns["time"].astype(np.int64)
    end = start + np.maximum(columns["duration"].astype(np.int64), 0)
    key = columns["pitch"].astype(np.int64) % DRUM_KEYS + DRUM_KEYS * bool(track.is_drum)
    velocity = columns["velocity"].astype(np.int64)
    return np.stack([start, end, key, velocity, np.full(len(start), number)], axis=1)
