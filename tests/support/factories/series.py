"""Small synthetic data sets of many series."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.tasks.forecasting.series import SeriesSet


def series_set(
    values: Sequence[npt.NDArray[np.float64]],
    freq: str = "D",
    *,
    splits: Sequence[Sequence[int]] | None = None,
    static: Sequence[str] | None = None,
    covariates: dict[str, npt.NDArray[np.float64]] | None = None,
    known_ahead: Sequence[str] = (),
) -> SeriesSet:
    """A data set of these series; covariates (points,) run through all series end to end."""
    points = sum(len(v) for v in values)
    levels = sorted(set(static or []))
    columns = covariates or {}
    return SeriesSet(
        ids=np.array([f"s{k}" for k in range(len(values))]),
        freq=freq,
        starts=np.zeros(len(values), np.int64),
        offsets=np.concatenate([[0], np.cumsum([len(v) for v in values])]).astype(np.int64),
        values=np.concatenate(values),
        splits=np.concatenate(splits).astype(np.int8) if splits else np.zeros(points, np.int8),
        static_names=["kind"] if static else [],
        static_levels=[levels] if static else [],
        static_codes=np.array([[levels.index(s)] for s in static or []], np.int32).reshape(
            len(values), 1 if static else 0
        ),
        covariate_names=list(columns),
        covariate_levels=[[] for _ in columns],
        covariates=np.stack(list(columns.values()), axis=1).astype(np.float32)
        if columns
        else np.zeros((points, 0), np.float32),
        known_ahead=list(known_ahead),
    )


def store(directory: Path, series: SeriesSet) -> None:
    """Write the arrays where training looks for them."""
    arrays: dict[str, Any] = series.arrays()
    np.savez(directory / "arrays.npz", **arrays)


def waves(count: int = 8, length: int = 90, season: int = 7, seed: int = 0) -> list[npt.NDArray[np.float64]]:
    """Noisy sines on levels of their own."""
    rng = np.random.default_rng(seed)
    time = np.arange(length)
    return [
        10 * (k + 1) * (3 + np.sin(2 * np.pi * (time + k) / season) + 0.1 * rng.normal(size=length))
        for k in range(count)
    ]
