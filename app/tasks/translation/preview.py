"""The first pairs of a data set."""

from app.tasks.preview import PreviewRows, RowBounds, SplitPreviewRow, clip_text
from app.tasks.shared.splits import split_name
from app.tasks.translation.reading import Pairs
from app.typedefs import Json


class TranslationPreviewRow(SplitPreviewRow):
    """A text and its translation, None where the file has none."""

    source: str
    target: str | None


def preview_pairs(pairs: Pairs, bounds: RowBounds) -> PreviewRows:
    """The pairs with the split that the file names."""

    def row(index: int) -> Json:
        source, source_is_cut = clip_text(pairs.sources.ragged[index], bounds)
        target, target_is_cut = clip_text(pairs.targets.ragged[index], bounds)
        return {
            "source": source,
            "target": target or None,
            "split": split_name(int(pairs.splits[index])),
            "truncated": source_is_cut or target_is_cut,
        }

    return PreviewRows(len(pairs), row)
