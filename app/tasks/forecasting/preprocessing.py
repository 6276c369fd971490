"""Preprocessing of a forecasting model, fitted on training data and stored as JSON in the model's state."""

from collections.abc import Sequence

import numpy as np

from app.arrays import Array
from app.errors import Invalid
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.metrics import best_season, naive_scales
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.panels.panel import Panel
from app.tasks.forecasting.panels.rows import joined
from app.tasks.forecasting.panels.transforms import LOG, choose_transform_kind, choose_transforms
from app.tasks.forecasting.prediction.still import fit_still
from app.tasks.forecasting.series import SeriesSet
from app.typedefs import Json

MAX_HISTORY_SEASONS = 20  # of the history that the seasonal indices are taken from
MIN_WINDOW_STEPS, MAX_WINDOW_STEPS = 4, 24  # of recent levels among the inputs
MIN_CONTEXT_STEPS, MAX_CONTEXT_STEPS = 48, 168  # recurrent steps of an automatic context
MIN_MEMORY_MOVES = 8  # moves that the scale is averaged over
MIN_SCALE_STD = 0.1  # of the logarithm of the scale
MIN_TURNED_SERIES, TURNED_SHARE = 50, 0.25  # of a panel whose windows are turned upside down, and of them
MAX_STATIC_ITEMS = 20_000  # a manifest of more items would be too large
MAX_USUAL_PHASES = 8  # that a request's first time stamp is compared with
MAX_SAMPLED_SERIES = 500  # enough to choose a setting by
NOTHING_OBSERVED = "No series has two observed values before the rows that are held out."
INITIAL_SCALE = {"usual": 1e-9, "scale_mean": 0.0, "scale_std": 1.0}  # before `fit_scale`


def usable_seasons(frequency: Frequency, season_length: int | None, longest: int) -> list[int]:
    """Candidate seasons of which the longest training series has two, shortest first."""
    candidates = (season_length,) if season_length else frequency.seasons
    return [season for season in candidates if 1 < season <= longest // 2]


def fit_preprocessing(series: SeriesSet, ends: Sequence[int], options: ForecastingOptions) -> Json:
    """The state without covariates, fitted on the values before `ends` only.

    Raises `Invalid` if nothing is observed there. `INITIAL_SCALE` stands in for the result of `fit_scale`.
    """
    frequency = Frequency.parse(series.freq)
    train = [series.values[start : start + end] for start, end in zip(series.offsets[:-1], ends, strict=True)]
    train = [values for values in train if np.isfinite(values).any()]
    if not train:
        raise Invalid(NOTHING_OBSERVED)
    season_length, horizon = options.season_length, options.horizon
    seasons = usable_seasons(frequency, season_length, max(len(values) for values in train))
    window = int(np.clip(max(horizon, *seasons[:1], MIN_WINDOW_STEPS), MIN_WINDOW_STEPS, MAX_WINDOW_STEPS))
    longest = max(seasons, default=1)
    automatic = int(np.clip(max(2 * horizon, longest), MIN_CONTEXT_STEPS, MAX_CONTEXT_STEPS))
    context = options.context_length or automatic
    transform = choose_transform_kind(train) if options.transform == "auto" else options.transform
    lag = longest if longest > window else 0
    return {
        "freq": series.freq,
        "phases": usual_phases(series),
        "horizon": horizon,
        "quantiles": sorted({0.5, *options.quantiles}),
        "answered": list(options.quantiles),
        "transform": transform,
        "seasons": seasons,
        "season": best_season(train, (season_length,) if season_length else frequency.seasons),
        "window": window,
        "memory": max(window, MIN_MEMORY_MOVES),
        "lag": lag,
        "bases": choose_base_seasons(train, transform, seasons, horizon) if lag else [],
        "context": context,
        "history": max(MAX_HISTORY_SEASONS * longest, context + max(window, longest) + horizon),
        "cycles": frequency.calendar_width,
        **INITIAL_SCALE,
        "non_negative": not any(bool((values < 0).any()) for values, _ in joined(train)),
        "counts": are_counts(train),
        "still": fit_still(train, horizon),
    }


def usual_phases(series: SeriesSet) -> list[int]:
    """The most frequent phases of the series, by which a request's `start` is understood."""
    phases, counts = np.unique(series.phases, return_counts=True)
    usual: list[int] = phases[np.argsort(-counts, kind="stable")][:MAX_USUAL_PHASES].tolist()
    return usual


def are_counts(train: Sequence[Array]) -> bool:
    """Whether all values are non-negative integers with zeros among them; then quantiles are integers too."""
    has_zeros = False
    for values, _ in joined(train):
        if not (((values >= 0) & (values == np.floor(values))) | np.isnan(values)).all():
            return False
        has_zeros = has_zeros or bool((values == 0).any())
    return has_zeros


def choose_base_seasons(
    train: Sequence[Array], transform: str, seasons: Sequence[int], horizon: int
) -> list[int]:
    """Seasons whose seasonal naive forecast the network corrects, longest first.

    None, unless for most series the naive forecast of the longest season beats the last value over the
    horizon. A season shorter than the horizon cannot be a base, as its last cycle is not known at every lead
    time.
    """
    usable = sorted((season for season in seasons if season >= horizon), reverse=True)
    better = []
    for values in train[:MAX_SAMPLED_SERIES] if usable else []:
        if len(values) >= 2 * usable[0]:
            z = choose_transforms(values[None], transform).forward(values[None])
            level_errors = [naive_scales(z, lead) for lead in (1, (horizon + 1) // 2, horizon)]
            better.append(naive_scales(z, usable[0]) < np.mean(level_errors))
    return usable if better and np.mean(better) > 0.5 else []


def fit_covariates(series: SeriesSet, ends: list[int], options: ForecastingOptions) -> Json:
    """The part of the state that describes the covariates the model reads, fitted before `ends`."""
    future = series.known_ahead if options.future_covariates is None else options.future_covariates
    past = options.past_covariates
    if past is None:
        past = [name for name in series.covariate_names if name not in future]
    static = series.static_names if options.static_covariates is None else options.static_covariates
    specs = _static_specs(series, static)
    return {
        "past": _varying_specs(series, ends, past),
        "future": _varying_specs(series, ends, [name for name in future if name not in past]),
        "static": specs,
        "items": _static_codes_by_item(series, specs),
    }


def turned_share(state: Json, series_count: int) -> float:
    """The share of training windows that are turned upside down.

    Most series of a panel of months, quarters or years rise for as long as it was recorded, and a network
    forecasts that they go on; how much they rise is one observation, however many series there are. Nothing
    is turned where up and down differ in more than that: without the logarithm, with covariates that vary,
    or where the calendar says more than the season.
    """
    covariates = state["past"] or state["future"]
    slow = Frequency.parse(state["freq"]).unit in ("M", "1")
    usable = state["transform"] == LOG and slow and not covariates and series_count >= MIN_TURNED_SERIES
    return TURNED_SHARE if usable else 0.0


def _varying_specs(series: SeriesSet, ends: Sequence[int], names: Sequence[str]) -> list[Json]:
    """Mean and standard deviation before `ends` of numeric covariates, and the levels of the others."""
    inside = np.zeros(len(series.values), bool)
    for start, end in zip(series.offsets[:-1], ends, strict=True):
        inside[start : start + end] = True
    specs = []
    for name in names:
        index = series.covariate_names.index(name)
        column = series.covariates[inside, index].astype(np.float64)
        column = column[np.isfinite(column)]
        levels = series.covariate_levels[index]
        mean, std = (float(column.mean()), float(column.std())) if len(column) and not levels else (0.0, 1.0)
        specs.append({"name": name, "levels": levels, "mean": mean, "std": std if std > 0 else 1.0})
    return specs


def _static_specs(series: SeriesSet, names: Sequence[str]) -> list[Json]:
    """Levels of the static columns."""
    return [{"name": name, "levels": series.static_levels[series.static_names.index(name)]} for name in names]


def _static_codes_by_item(series: SeriesSet, specs: Sequence[Json]) -> dict[str, list[int]]:
    """Static codes of each item, so that a request that names an item need not repeat its columns."""
    if not specs or len(series.ids) > MAX_STATIC_ITEMS:
        return {}
    columns = [series.static_names.index(spec["name"]) for spec in specs]
    codes = series.static_codes[:, columns].tolist()
    return dict(zip(series.ids.tolist(), codes, strict=True))


def fit_scale(panel: Panel) -> dict[str, float]:
    """Median scale over the observed points of a panel, with mean and deviation of its logarithm."""
    scale = panel.scale[panel.trainable & panel.observed & (panel.scale > INITIAL_SCALE["usual"])]
    if not len(scale):
        return {"usual": 1.0, "scale_mean": 0.0, "scale_std": 1.0}
    logs = np.log(scale)
    return {
        "usual": float(np.median(scale)),
        "scale_mean": float(logs.mean()),
        "scale_std": float(max(logs.std(), MIN_SCALE_STD)),
    }
