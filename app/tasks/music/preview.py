"""The pieces of a data set for people: what was read of each file."""

from typing import NotRequired

import numpy as np

from app.arrays import Arrays
from app.tasks.media_members import MEMBER_NAMES
from app.tasks.music.codings.pieces import MELODIC_KEYS, Piece
from app.tasks.music.detokenizer import TIME_DIGITS
from app.tasks.music.midi_file import write_piece
from app.tasks.music.options import ComposedNote
from app.tasks.music.reading import StoredPieces
from app.tasks.preview import PreviewRows, RowBounds, SplitPreviewRow, file_field
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import SPLIT, split_name
from app.typedefs import Json


class MusicPreviewRow(SplitPreviewRow):
    """A member of the archive; `tracks` counts those with notes.

    Whole rows have the first notes by their beginnings, and the piece as a MIDI file, None where it is too
    large.
    """

    midi: str
    seconds: float
    notes: int
    tracks: int
    note_events: NotRequired[list[ComposedNote]]
    midi_base64: NotRequired[bytes | None]


def preview_pieces(arrays: Arrays, bounds: RowBounds) -> PreviewRows:
    """The pieces with the split that the manifest names."""
    names, pieces = Texts.from_arrays(arrays, MEMBER_NAMES), StoredPieces(arrays)

    def row(index: int) -> Json:
        piece: Piece = pieces[index]
        content = file_field("midi_base64", lambda: write_piece(piece), bounds)
        events = {"note_events": _note_events(piece, bounds.notes)} if bounds.notes else {}
        return {
            "midi": names[index],
            "seconds": round(float(piece.seconds(np.array([piece.end]))[0]), 3),
            "notes": len(piece.notes),
            "tracks": len(piece.programs),
            "split": split_name(int(arrays[SPLIT][index])),
            **events,
            **content,
            "truncated": bool(content) and (None in content.values() or len(piece.notes) > bounds.notes),
        }

    return PreviewRows(len(pieces), row)


def _note_events(piece: Piece, count: int) -> list[ComposedNote]:
    """The first notes with their times in seconds."""
    notes = piece.notes[:count]  # (count, 5)
    times = np.stack([piece.seconds(notes[:, 0]), piece.seconds(notes[:, 1])], axis=1).round(TIME_DIGITS)
    return [
        {"pitch": key % MELODIC_KEYS, "start": start, "end": end, "velocity": velocity}
        for (start, end), key, velocity in zip(
            times.tolist(), notes[:, 2].tolist(), notes[:, 3].tolist(), strict=True
        )
    ]
