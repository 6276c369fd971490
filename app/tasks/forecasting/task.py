"""Forecasting: one network for all series of a data set, quantiles of the whole horizon at every step.

Series are read on a local scale (Smyl 2020), the loss is taken at every position (forking sequences, Wen et
al. 2017, "A multi-horizon quantile recurrent forecaster"), and the network's output is a correction to the
last level plus season, so that an untrained network is the benchmark Naive2.
"""

from typing import ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.errors import Invalid, Problem
from app.tasks.contract import (
    Arrays,
    Batch,
    Defaults,
    Example,
    Faults,
    Floats,
    Input,
    Ints,
    Output,
    Plan,
    Reading,
    Source,
    Split,
    TensorField,
)
from app.tasks.forecasting.backtest import Slicer, cut_series
from app.tasks.forecasting.encoding import gather_inputs, width
from app.tasks.forecasting.inference import (
    Ahead,
    Instance,
    Parameters,
    check_parameters,
    frequency_of,
    measured_quantiles,
    read_history,
    write_answer,
)
from app.tasks.forecasting.instances import SeriesInstances, misfits
from app.tasks.forecasting.metrics import Scores, naive_errors, naive_scale, seasonal_naive
from app.tasks.forecasting.normalization import build_panel, normalise
from app.tasks.forecasting.options import Options, check_options
from app.tasks.forecasting.preprocessing import NOTHING, covariate_specs, draft, usual_scale
from app.tasks.forecasting.reading.table import read_series
from app.tasks.forecasting.sampling import Origins, Windows, reach
from app.tasks.forecasting.series import SeriesSet
from app.typedefs import Json

SAMPLE = 500  # histories are enough to know the usual scale


class Examples:
    """Windows or origins as the split a training loop reads."""

    def __init__(self, source: Windows | Origins) -> None:
        self.source = source
        self.lengths: Ints = source.lengths  # (examples,)
        self.carried = False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather examples as the QUANTILES loss wants them."""
        return Batch(*self.source.gather(rows, rng))


class Forecasting:
    """Global forecasting of many series; the point forecast, `mean` in the answer, is the median."""

    name: ClassVar[str] = "forecasting"
    bidirectional: ClassVar[bool] = False  # every position has a loss: reading backwards would see the future
    formats: ClassVar[tuple[str, ...]] = ("csv", "parquet", "jsonl")
    columns: ClassVar[tuple[str, ...]] = ("unique_id", "ds", "y", "split")
    options: ClassVar[type[BaseModel]] = Options
    instance: ClassVar[type[msgspec.Struct]] = Instance
    parameters: ClassVar[type[msgspec.Struct]] = Parameters
    typical: ClassVar[dict[str, tuple[Json, Json]]] = {"series": ({}, {"horizon": 24})}
    loss_of: ClassVar[frozenset[str]] = frozenset(
        {"options.horizon", "options.quantiles", "options.season_length", "options.transform"}
    )
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("values", "FP64", (-1,), missing=True),
        TensorField("start", "BYTES", (), required=False),
        TensorField("freq", "BYTES", (), required=False),
        TensorField("item_id", "BYTES", (), required=False),
    )
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("mean", "FP64", (-1,)),  # (horizon,)
        TensorField("quantiles", "FP64", (-1, -1)),  # (horizon, quantiles)
    )
    network_defaults: ClassVar[Json] = {"cell": "lstm", "layers": 1, "hidden_size": 64, "dropout": 0.1}
    training_defaults: ClassVar[Json] = {
        "epochs": 30,
        "batch_size": 128,
        "learning_rate": 5e-3,
        "clip_norm": 1.0,
        "patience": 8,
        "bptt_steps": None,
    }

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read series from long tables or JSON Lines."""
        series, summary, warnings = read_series(source, faults)
        return Reading(series.arrays(), summary, warnings)

    def check(self, summary: Json, options: Options) -> list[Problem]:
        """Too short series, unknown covariates, or nothing observed."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: Options) -> Defaults:
        """The same for all series."""
        del summary, options
        return Defaults(self.network_defaults, self.training_defaults)

    def measures(self, summary: Json) -> dict[str, bool]:
        """Errors of the median, or of all quantiles."""
        del summary
        return {"smape": False, "mase": False, "pinball": False}

    def plan(self, arrays: Arrays, options: Options, seed: int, bptt_steps: int | None = None) -> Plan:
        """Cut every series, learn the recipe from the training part, and lay out the splits."""
        del seed, bptt_steps  # series are split by time, and read whole
        series = SeriesSet.from_arrays(arrays)
        frequency = frequency_of(series.freq)
        seasons = (options.season_length,) if options.season_length else frequency.seasons[:1]
        cuts = cut_series(series, options.horizon, max(seasons, default=1))
        ends = [cut.train for cut in cuts]
        state = {**draft(series, ends, options), **covariate_specs(series, ends, options)}
        slicer = Slicer(series, state)
        train = [group for cut in cuts if (group := slicer.pieces(cut.series, cut.train))]
        whole = [group for cut in cuts if (group := slicer.pieces(cut.series, cut.whole))]
        if not train:
            raise Invalid(NOTHING)
        state.update(usual_scale(build_panel(state, frequency, [group[0] for group in train[:SAMPLE]])[0]))
        valid = slicer.places((cut.series, origin, cut.whole) for cut in cuts for origin in cut.valid)
        test = slicer.places((cut.series, origin, None) for cut in cuts for origin in cut.test)
        return Plan(
            state=state,
            input=Input.VECTORS,
            output=Output.QUANTILES,
            features=width(state),
            outputs=options.horizon * len(state["quantiles"]),
            train=Examples(Windows(state, train)),
            valid=Examples(Origins(state, slicer, valid)),
            test=Examples(Origins(state, slicer, test)),
            refit=Examples(Windows(state, whole)) if options.refit else None,
            network={"quantiles": state["quantiles"]},
            warnings=[] if valid else ["No series is long enough to stop training by: every epoch was run."],
        )

    def settle(self, state: Json, split: Split, outputs: list[Floats]) -> Json:
        """Nothing is left to learn."""
        del split, outputs
        return state

    def misfits(self, summary: Json, state: Json, parameters: Parameters) -> list[Problem]:
        """Another frequency than the model's, a longer horizon, or quantiles it does not know."""
        return misfits(summary, state, parameters)

    def instances(self, arrays: Arrays, state: Json) -> SeriesInstances:
        """Each series up to its last observed value."""
        return SeriesInstances(SeriesSet.from_arrays(arrays), state)

    def encode(self, state: Json, instance: Instance, parameters: Parameters) -> Example:
        """The last steps of a series as the network's inputs."""
        check_parameters(state, parameters)
        history, phase = read_history(state, instance)
        panel, normalised = build_panel(state, frequency_of(state["freq"]), [history], reach(state))
        time = min(len(history.values), state["context"])
        inputs = gather_inputs(state, panel, np.zeros(1, np.int64), panel.lengths - time, time)
        origin = None if history.start is None else history.start + len(history.values)
        return Example(
            inputs[0], Ahead(normalised[0], floor_of(state, history.values), instance.item_id, origin, phase)
        )

    def decode(self, state: Json, example: Example, outputs: Floats, parameters: Parameters) -> Json:
        """Quantiles of the coming steps in measured units."""
        return write_answer(state, example.context, outputs, parameters)

    def score(self, state: Json, split: Split, outputs: list[Floats]) -> tuple[Json, Json]:
        """Percent sMAPE, MASE, scaled quantile loss, coverage: of the network and the seasonal naive."""
        origins = origins_of(split)
        found, naive = Scores(state["quantiles"]), Scores(state["quantiles"])
        for row, output in enumerate(outputs):
            history, past = origins.history(row), origins.past(row)
            ahead = Ahead(normalise(state, history), floor_of(state, history.values))
            scale = naive_scale(past, state["season"])
            quantiles = measured_quantiles(state, ahead, output)  # (horizon, quantiles)
            found.add(history.after, quantiles[:, state["quantiles"].index(0.5)], quantiles, scale)
            point = seasonal_naive(past, state["season"], state["horizon"])  # (horizon,)
            errors = naive_errors(past, state["season"])
            spread = np.quantile(errors, state["quantiles"]) if len(errors) else np.zeros(quantiles.shape[1])
            naive.add(history.after, point, point[:, None] + spread, scale)
        return found.result(), naive.result()


def origins_of(split: Split) -> Origins:
    """The forecasts of a split of ours; raises `TypeError` for another."""
    if isinstance(split, Examples) and isinstance(split.source, Origins):
        return split.source
    raise TypeError("only forecasts at origins can be scored")


def floor_of(state: Json, values: Floats) -> float:
    """0 for a series without negative values if none of those trained on had any, else no limit."""
    return 0.0 if state["non_negative"] and np.nanmin(values) >= 0 else -np.inf


TASK = Forecasting()
