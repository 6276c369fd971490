"""The first clips of a data set: what was read of each file."""

from app.arrays import Arrays
from app.tasks.media_members import MEMBER_NAMES
from app.tasks.preview import PreviewRows, SplitPreviewRow
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import SPLIT, split_name
from app.tasks.video.reading import FRAME_COUNTS, FRAME_SIZES, LABEL, LABELS
from app.typedefs import Json


class VideoPreviewRow(SplitPreviewRow):
    """A member of the archive; `width` and `height` are those of its frames in pixels."""

    video: str
    label: str | None
    frames: int
    width: int
    height: int


def preview_clips(arrays: Arrays) -> PreviewRows:
    """The clips with what the manifest says of each."""
    names, labels = Texts.from_arrays(arrays, MEMBER_NAMES), Texts.from_arrays(arrays, LABELS)

    def row(index: int) -> Json:
        number = int(arrays[LABEL][index])
        width, height = arrays[FRAME_SIZES][index].tolist()
        return {
            "video": names[index],
            "label": labels[number] if number >= 0 else None,
            "frames": int(arrays[FRAME_COUNTS][index]),
            "width": width,
            "height": height,
            "split": split_name(int(arrays[SPLIT][index])),
            "truncated": False,
        }

    return PreviewRows(len(names), row)
