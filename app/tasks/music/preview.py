"""The first pieces of a data set: what was read of each file."""

import numpy as np

from app.arrays import Arrays
from app.tasks.media_members import MEMBER_NAMES
from app.tasks.music.reading import StoredPieces
from app.tasks.preview import PreviewRows, SplitPreviewRow
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import SPLIT, split_name
from app.typedefs import Json


class MusicPreviewRow(SplitPreviewRow):
    """A member of the archive; `tracks` counts those with notes."""

    midi: str
    seconds: float
    notes: int
    tracks: int


def preview_pieces(arrays: Arrays) -> PreviewRows:
    """The pieces with the split that the manifest names."""
    names, pieces = Texts.from_arrays(arrays, MEMBER_NAMES), StoredPieces(arrays)

    def row(index: int) -> Json:
        piece = pieces[index]
        return {
            "midi": names[index],
            "seconds": round(float(piece.seconds(np.array([piece.end]))[0]), 3),
            "notes": len(piece.notes),
            "tracks": len(piece.programs),
            "split": split_name(int(arrays[SPLIT][index])),
            "truncated": False,
        }

    return PreviewRows(len(pieces), row)
