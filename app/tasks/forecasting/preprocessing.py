"""What a forecasting model must know to read a series: found on training data, kept as JSON."""

from collections.abc import Sequence

import numpy as np

from app.errors import Invalid
from app.tasks.contract import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.metrics import best_season, naive_scale
from app.tasks.forecasting.normalization import Panel, choose_kind, transform_of
from app.tasks.forecasting.options import Options
from app.tasks.forecasting.series import SeriesSet
from app.typedefs import Json

SEASONS_KEPT = 20  # how much history decides what the season looks like
SHORTEST, LONGEST = 4, 24  # of the input window
NOTHING = "No series has two observed values before the rows that are held out."
ITEMS_KEPT = 20_000  # more are not worth their room in every manifest
SAMPLE = 500  # series are enough to choose by
UNKNOWN_SCALE = {"usual": 1e-9, "scale_mean": 0.0, "scale_std": 1.0}  # until it has been measured
STEPS = (48, 168)  # least and most recurrent steps of an automatic context


def seasons_for(frequency: Frequency, season_length: int | None, longest: int) -> list[int]:
    """Candidate season lengths that the longest training series can show, shortest first."""
    candidates = (season_length,) if season_length else frequency.seasons
    return [season for season in candidates if 1 < season <= longest // 2]


def draft(series: SeriesSet, ends: Sequence[int], options: Options) -> Json:
    """The part of the state that precedes normalising, from values before `ends` only."""
    frequency = Frequency.parse(series.freq)
    train = [series.values[start : start + end] for start, end in zip(series.offsets[:-1], ends, strict=True)]
    train = [values for values in train if np.isfinite(values).any()]
    if not train:
        raise Invalid(NOTHING)
    season_length, horizon = options.season_length, options.horizon
    seasons = seasons_for(frequency, season_length, max(len(values) for values in train))
    window = int(np.clip(max(horizon, *seasons[:1], SHORTEST), SHORTEST, LONGEST))
    longest = max(seasons, default=1)
    context = options.context_length or int(np.clip(max(2 * horizon, longest), *STEPS))
    transform = choose_kind(train) if options.transform == "auto" else options.transform
    lag = longest if longest > window else 0
    return {
        "freq": series.freq,
        "horizon": horizon,
        "quantiles": sorted({0.5, *options.quantiles}),
        "answered": list(options.quantiles),
        "transform": transform,
        "seasons": seasons,
        "season": best_season(train, (season_length,) if season_length else frequency.seasons),
        "window": window,
        "memory": max(window, 8),
        "lag": lag,
        "bases": choose_bases(train, transform, seasons, horizon) if lag else [],
        "context": context,
        "history": max(SEASONS_KEPT * longest, context + max(window, longest) + horizon),
        "cycles": frequency.width,
        **UNKNOWN_SCALE,
        "non_negative": all(bool(np.nanmin(values) >= 0) for values in train),
        "counts": are_counts(train),
    }


def are_counts(train: Sequence[Array]) -> bool:
    """Whether all values are whole and not negative, zeros among them: then quantiles are whole too."""
    observed = [values[np.isfinite(values)] for values in train]
    whole = all(bool(((values >= 0) & (values == np.floor(values))).all()) for values in observed)
    return whole and any(bool((values == 0).any()) for values in observed)


def choose_bases(train: Sequence[Array], transform: str, seasons: Sequence[int], horizon: int) -> list[int]:
    """The seasons whose last turn forecasts may start from, longest first; none if the last level is better.

    A season shorter than the horizon cannot serve: its last turn is not known at every lead time. At the
    longest, the seasonal naive forecast must beat the last value up to the horizon for most of the series.
    """
    usable = sorted((season for season in seasons if season >= horizon), reverse=True)
    better = []
    for values in train[:SAMPLE] if usable else []:
        if len(values) >= 2 * usable[0]:
            z = transform_of(values, transform).forward(values)
            levels = [naive_scale(z, lead) for lead in (1, (horizon + 1) // 2, horizon)]
            better.append(naive_scale(z, usable[0]) < np.mean(levels))
    return usable if better and np.mean(better) > 0.5 else []


def _changing(series: SeriesSet, ends: Sequence[int], names: Sequence[str]) -> list[Json]:
    """Mean and spread of numeric covariates before `ends`, levels of the others."""
    inside = np.zeros(len(series.values), bool)
    for start, end in zip(series.offsets[:-1], ends, strict=True):
        inside[start : start + end] = True
    specs = []
    for name in names:
        place = series.covariate_names.index(name)
        column = series.covariates[inside, place].astype(np.float64)
        column = column[np.isfinite(column)]
        levels = series.covariate_levels[place]
        mean, std = (float(column.mean()), float(column.std())) if len(column) and not levels else (0.0, 1.0)
        specs.append({"name": name, "levels": levels, "mean": mean, "std": std if std > 0 else 1.0})
    return specs


def _static(series: SeriesSet, names: Sequence[str]) -> list[Json]:
    """Levels of the static columns."""
    return [{"name": name, "levels": series.static_levels[series.static_names.index(name)]} for name in names]


def _remembered(series: SeriesSet, static: Sequence[Json]) -> dict[str, list[int]]:
    """Codes of the static columns by item, so that a request that names an item need not repeat them."""
    if not static or len(series.ids) > ITEMS_KEPT:
        return {}
    columns = [series.static_names.index(spec["name"]) for spec in static]
    codes = series.static_codes[:, columns].tolist()
    return dict(zip(series.ids.tolist(), codes, strict=True))


def covariate_specs(series: SeriesSet, ends: list[int], options: Options) -> Json:
    """Which columns the model reads, and how."""
    future = series.known_ahead if options.future_covariates is None else options.future_covariates
    past = options.past_covariates
    if past is None:
        past = [name for name in series.covariate_names if name not in future]
    static = series.static_names if options.static_covariates is None else options.static_covariates
    specs = _static(series, static)
    return {
        "past": _changing(series, ends, past),
        "future": _changing(series, ends, [name for name in future if name not in past]),
        "static": specs,
        "items": _remembered(series, specs),
    }


def usual_scale(panel: Panel) -> dict[str, float]:
    """The typical scale, and how its logarithm is spread, over the observed points of a panel."""
    scale = panel.scale[panel.ready & (panel.observed > 0) & (panel.scale > UNKNOWN_SCALE["usual"])]
    if not len(scale):
        return {"usual": 1.0, "scale_mean": 0.0, "scale_std": 1.0}
    logs = np.log(scale)
    return {
        "usual": float(np.median(scale)),
        "scale_mean": float(logs.mean()),
        "scale_std": float(max(logs.std(), 0.1)),
    }
