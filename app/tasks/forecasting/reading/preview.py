"""The first series of a data set, laid on their grid."""

from typing import NotRequired

from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.instances import covariate_cells, number_cells, static_cells
from app.tasks.forecasting.series import SPLIT_MARKS, SeriesSet
from app.tasks.preview import PreviewRow, PreviewRows, RowBounds, SplitName, shown_steps
from app.typedefs import Json


class ForecastingPreviewRow(PreviewRow):
    """The beginning of a series; `length` counts all its steps, those without a value included."""

    item_id: str
    freq: str
    timestamps: list[str | int]
    values: list[float | None]
    length: int
    covariates: NotRequired[dict[str, list[float | str | None]]]
    static: NotRequired[dict[str, str]]
    splits: NotRequired[list[SplitName | None]]


def preview_series(series: SeriesSet, bounds: RowBounds) -> PreviewRows:
    """Each series up to its last row, with all its columns."""
    return PreviewRows(len(series.ids), lambda row: _preview_row(series, row, bounds))


def _preview_row(series: SeriesSet, row: int, bounds: RowBounds) -> Json:
    start, stop = int(series.offsets[row]), int(series.offsets[row + 1])
    count = shown_steps(stop - start, 1 + len(series.covariate_names), bounds)
    phase = int(series.phases[row]) if len(series.phases) else 0
    end = start + count
    optional = {
        "covariates": {
            name: covariate_cells(series, column, start, end)
            for column, name in enumerate(series.covariate_names)
        },
        "static": static_cells(series, row),
        "splits": _split_names(series, start, end),
    }
    return {
        "item_id": str(series.ids[row]),
        "freq": series.freq,
        "timestamps": Frequency.parse(series.freq).stamps(int(series.starts[row]), count, phase),
        "values": number_cells(series.values[start:end]),
        "length": stop - start,
        **{name: cells for name, cells in optional.items() if cells},
        "truncated": end < stop,
    }


def _split_names(series: SeriesSet, start: int, end: int) -> list[str | None]:
    """The split of each point; none where the file names no split for any of them."""
    names = {mark: name for name, mark in SPLIT_MARKS.items()}
    marks = series.splits[start:end].tolist()
    return [names.get(mark) for mark in marks] if any(marks) else []
