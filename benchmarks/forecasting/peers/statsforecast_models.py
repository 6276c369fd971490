"""Forecasts by statsforecast, in an environment of its own.

m3 FILE SEASON HORIZON OUT MODEL...    each series of a JSON Lines file from its end
rolling FILE HORIZON OUT SEASON...     MSTL with ETS at each window of the rows marked `test` of a CSV
demand OUT                             writes half-hourly demand of electricity as such a CSV
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from statsforecast import StatsForecast
from statsforecast import models as known_models
from tsdata import fpppy

LEVELS = [80, 95]
FITTED_SEASONS = 10  # of the longest season, that MSTL is fitted to
TEST_DAYS = 56


def m3(file: str, season: str, horizon: str, out: str, *names: str) -> None:
    """Medians (series, horizon) and bounds of each model, by `MODEL`, `MODEL-lo-80` and so on."""
    lines = [json.loads(line) for line in Path(file).read_text().splitlines()]
    order = [line["item_id"] for line in lines]
    frame = pd.concat(
        [
            pd.DataFrame(
                {"unique_id": line["item_id"], "ds": np.arange(len(line["target"])), "y": line["target"]}
            )
            for line in lines
        ]
    )
    chosen = [getattr(known_models, name)(season_length=int(season)) for name in names]
    service = StatsForecast(models=chosen, freq=1, n_jobs=-1, fallback_model=known_models.Naive())
    found = service.forecast(df=frame, h=int(horizon), level=LEVELS)
    columns = [column for column in found.columns if column not in ("unique_id", "ds")]
    arrays = {
        column: np.stack([part[column].to_numpy() for _, part in found.groupby("unique_id", sort=True)])
        for column in columns
    }
    place = {name: row for row, name in enumerate(sorted(order))}
    rows = [place[name] for name in order]
    np.savez(out, allow_pickle=False, **{column: values[rows] for column, values in arrays.items()})


def rolling(file: str, horizon: str, out: str, *seasons: str) -> None:
    """The mean absolute error of each series, as JSON."""
    steps, lengths = int(horizon), [int(season) for season in seasons]
    trend = known_models.AutoETS(model="ZZN")
    method = known_models.MSTL(season_length=lengths, trend_forecaster=trend)
    frame = pd.read_csv(file)
    errors: dict[str, float] = {}
    for name, part in frame.groupby("unique_id"):
        stamps = pd.to_datetime(part["ds"])
        values = pd.Series(part["y"].to_numpy(), index=stamps).asfreq(pd.infer_freq(stamps[:3]) or "h")
        first = values.index.get_loc(stamps[part["split"] == "test"].iloc[0])
        filled = values.interpolate().to_numpy()
        missed: list[Any] = []
        for origin in range(first, len(values), steps):
            actual = values.to_numpy()[origin : origin + steps]
            past = filled[max(0, origin - FITTED_SEASONS * max(lengths)) : origin]
            forecast = method.forecast(y=past, h=steps)["mean"][: len(actual)]
            missed.append(np.abs(actual - forecast))
        errors[str(name)] = float(np.nanmean(np.concatenate(missed)))
    Path(out).write_text(json.dumps(errors))


def demand(out: str) -> None:
    """Electricity demand of Victoria, 2012 to 2014 (fpp3): its last weeks are marked `test`."""
    frame = fpppy.vic_elec
    frame = frame[frame["unique_id"] == "Demand"][["unique_id", "ds", "y"]].reset_index(drop=True)
    frame["split"] = np.where(frame.index < len(frame) - 48 * TEST_DAYS, "train", "test")
    frame.to_csv(out, index=False)


COMMANDS: Mapping[str, Callable[..., None]] = {"m3": m3, "rolling": rolling, "demand": demand}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
