"""How far forecasts are from what came: sMAPE, MASE, bias, pinball loss, coverage, by lead and window."""

from collections.abc import Mapping, Sequence

import numpy as np

from app.arrays import Array
from app.tasks.evaluation.resampling import ratio, rounded
from app.tasks.forecasting.metrics import WORST_SERIES, pinball_loss, smape_points
from app.tasks.forecasting.panels.transforms import MIN_SCALE
from app.typedefs import Json

BASE = 6  # figures before the coverages: sum of sMAPE, points, MASE, bias, pinball, forecasts with a scale
HIGHER_IS_BETTER: Mapping[str, bool] = {"smape": False, "mase": False, "pinball": False}


def intervals_of(levels: Sequence[float]) -> dict[str, tuple[int, int]]:
    """The central intervals between quantiles: by their share, such as "0.8", both quantiles' indices."""
    intervals = {}
    for low, level in enumerate(levels):
        for high in range(low + 1, len(levels)):
            if abs(level + levels[high] - 1) < 1e-9:
                intervals[f"{levels[high] - level:.6g}"] = (low, high)
    return intervals


class ForecastErrors:
    """The errors of forecasts, point by point."""

    def __init__(self, levels: Sequence[float], horizon: int) -> None:
        self.levels, self.horizon, self.intervals = list(levels), horizon, intervals_of(levels)

    def points(self, line: Json) -> Json:
        """Arrays (horizon,) of one line: sMAPE, error, pinball loss, and for each interval what is covered.

        NaN where nothing was observed. The errors are divided by the scale of MASE, NaN without one.
        """
        prediction = line["prediction"]
        actual = np.full(self.horizon, np.nan)
        actual[: len(line["actual"])] = np.array(line["actual"], np.float64)  # None becomes NaN
        point = np.array(prediction["median"], np.float64)
        quantiles = np.array([prediction["quantiles"][str(level)] for level in self.levels], np.float64).T
        observed = np.isfinite(actual)
        scale = line["errors"]["scale"] or np.nan
        known = np.where(observed, actual, 0.0)
        smape = np.where(observed, smape_points(known, np.where(observed, point, 0.0)), np.nan)
        pinball = np.where(observed, pinball_loss(known, quantiles, self.levels), np.nan) / scale
        covered = {
            name: np.where(observed, (actual >= quantiles[:, low]) & (actual <= quantiles[:, high]), np.nan)
            for name, (low, high) in self.intervals.items()
        }
        return {"smape": smape, "error": (point - actual) / scale, "pinball": pinball, "covered": covered}

    def summary(self, line: Json) -> Json:
        """The errors of one line, in one number each; None where they are not defined."""
        parts = self.points(line)
        covered = {name: rounded(_mean(one)) for name, one in parts["covered"].items()}
        return {
            "scale": line["errors"]["scale"],
            "smape": rounded(_mean(parts["smape"])),
            "mase": rounded(_mean(np.abs(parts["error"]))),
            "bias": rounded(_mean(parts["error"])),
            "pinball": rounded(_mean(parts["pinball"])),
            "coverage": covered,
        }


def mase_scale(scale: float) -> float | None:
    """The scale of a series' errors; None where it is too small to divide by."""
    return float(scale) if scale > MIN_SCALE else None


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


class ForecastTally:
    """Adds up the errors of one version or baseline, see `Tally`."""

    def __init__(self, resamples: int, errors: ForecastErrors, windows: int, series: Sequence[str]) -> None:
        self._errors, self._series = errors, series
        names = list(errors.intervals)
        self._sums = np.zeros((resamples, BASE + len(names)))
        self._by_window = np.zeros((windows, BASE + len(names)))
        self._by_lead = np.zeros((5 + len(names), errors.horizon))  # as in `_leads`
        self._by_series = np.zeros((3, len(series)))  # MASE, sMAPE, forecasts
        self._names = names

    def add(self, lines: Sequence[Json], weights: Array) -> None:
        """See `Tally`."""
        if not lines:
            return
        figures = np.zeros((len(lines), self._sums.shape[1]))
        for row, line in enumerate(lines):
            parts = self._errors.points(line)
            figures[row] = self._figures(parts)
            self._by_lead += self._leads(parts)
            self._by_window[line["window"]] += figures[row]
            smape = _mean(parts["smape"])
            mase = figures[row, 2] if figures[row, 5] else smape / 200
            self._by_series[:, line["example"]] += mase, smape, 1
        self._sums += weights @ figures

    def _figures(self, parts: Json) -> list[float]:
        smape, error, pinball = parts["smape"], parts["error"], parts["pinball"]
        has_scale = bool(np.isfinite(error).any())
        scaled = (_mean(np.abs(error)), _mean(error), _mean(pinball)) if has_scale else (0.0, 0.0, 0.0)
        covered = [np.nansum(parts["covered"][name]) for name in self._names]
        return [np.nansum(smape), np.isfinite(smape).sum(), *scaled, has_scale, *covered]

    def _leads(self, parts: Json) -> Array:
        """Sums by lead (figures, horizon): sMAPE, points, absolute and signed error, count, coverage."""
        smape, error = parts["smape"], parts["error"]
        rows = [smape, np.isfinite(smape), np.abs(error), error, np.isfinite(error)]
        return np.nan_to_num(np.array([*rows, *(parts["covered"][name] for name in self._names)], np.float64))

    def values(self) -> dict[str, Array]:
        """See `Tally`."""
        return self._metrics(self._sums)

    def _metrics(self, sums: Array) -> dict[str, Array]:
        smape, points, mase, bias, pinball, forecasts = sums[:, :BASE].T
        metrics = {
            "smape": ratio(smape, points),
            "mase": ratio(mase, forecasts),
            "pinball": ratio(pinball, forecasts),
            "bias": ratio(bias, forecasts),
        }
        covered = zip(self._names, sums[:, BASE:].T, strict=True)
        return metrics | {f"coverage_{name}": ratio(part, points) for name, part in covered}

    def report(self) -> Json:
        """The errors by lead and by window, and the series with the largest ones."""
        smape, points, absolute, signed, scaled = self._by_lead[:5]
        by_lead = {
            "smape": _rounded(ratio(smape, points)),
            "mase": _rounded(ratio(absolute, scaled)),
            "bias": _rounded(ratio(signed, scaled)),
            "coverage": {
                name: _rounded(ratio(part, points))
                for name, part in zip(self._names, self._by_lead[5:], strict=True)
            },
        }
        windows = self._metrics(self._by_window)
        by_window = [
            {name: rounded(values[window]) for name, values in windows.items()}
            for window in range(len(self._by_window))
        ]
        return {"by_lead": by_lead, "by_window": by_window, "worst_series": self._worst()}

    def _worst(self) -> list[Json]:
        mase, smape, count = self._by_series
        mean = np.where(count > 0, mase / np.maximum(count, 1), -np.inf)
        order = np.argsort(-mean, kind="stable")[:WORST_SERIES].tolist()
        return [
            {
                "item_id": str(self._series[index]),
                "mase": rounded(mean[index]),
                "smape": rounded(smape[index] / count[index]),
            }
            for index in order
            if count[index]
        ]


def _rounded(values: Array) -> list[float | None]:
    return [rounded(value) for value in values.tolist()]
