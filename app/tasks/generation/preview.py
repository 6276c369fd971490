"""The first documents of a data set."""

from app.arrays import Arrays
from app.tasks.preview import PreviewRows, RowBounds, SplitPreviewRow, clip_text
from app.tasks.shared.ragged import Ragged
from app.tasks.shared.splits import SPLIT, split_name
from app.tasks.shared.text_checks import TEXT
from app.typedefs import Json


class GenerationPreviewRow(SplitPreviewRow):
    """The beginning of a document."""

    text: str


def preview_documents(arrays: Arrays, bounds: RowBounds) -> PreviewRows:
    """The documents with the split that the file names."""
    texts, codes = Ragged.from_arrays(arrays, TEXT), arrays[SPLIT]

    def row(index: int) -> Json:
        text, truncated = clip_text(texts[index], bounds)
        return {"text": text, "split": split_name(int(codes[index])), "truncated": truncated}

    return PreviewRows(len(codes), row)
