"""The first clips of a data set: what was read of each file."""

from typing import NotRequired

from app.arrays import Arrays
from app.tasks.media_members import MEMBER_NAMES
from app.tasks.preview import PreviewRows, RowBounds, SplitPreviewRow, file_field
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT, split_name
from app.tasks.video.inference import FIELD
from app.tasks.video.reading import CLIPS, FRAME_COUNTS, FRAME_SIZES, LABEL, LABELS
from app.typedefs import Json


class VideoPreviewRow(SplitPreviewRow):
    """A member of the archive; `width` and `height` are those of its frames in pixels.

    Whole rows have the clip as it was uploaded, None where it is too large.
    """

    video: str
    label: str | None
    frames: int
    width: int
    height: int
    video_base64: NotRequired[bytes | None]


def preview_clips(arrays: Arrays, bounds: RowBounds) -> PreviewRows:
    """The clips with what the manifest says of each."""
    names, labels = Texts.from_arrays(arrays, MEMBER_NAMES), Texts.from_arrays(arrays, LABELS)
    clips = Ragged.from_arrays(arrays, CLIPS)

    def row(index: int) -> Json:
        number = int(arrays[LABEL][index])
        width, height = arrays[FRAME_SIZES][index].tolist()
        content = file_field(FIELD, clips[index].tobytes, bounds)
        return {
            "video": names[index],
            "label": labels[number] if number >= 0 else None,
            "frames": int(arrays[FRAME_COUNTS][index]),
            "width": width,
            "height": height,
            "split": split_name(int(arrays[SPLIT][index])),
            **content,
            "truncated": None in content.values(),
        }

    return PreviewRows(len(names), row)
