"""Forecasting: one network for all series of a data set predicts quantiles of the whole horizon.

Inputs are on a local scale (Smyl 2020). The loss is taken at every position (forking sequences, Wen et al.
2017, "A multi-horizon quantile recurrent forecaster"). The network's output corrects the last level plus
season, so that an untrained network equals the benchmark Naive2.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.arrays import Arrays, Floats, Ints
from app.errors import Invalid, Problem
from app.tasks.contract import Batch, Defaults, Example, Input, Output, Plan, Split, TensorField
from app.tasks.demonstration import Demo
from app.tasks.encode_instances import encode_together
from app.tasks.evaluation.contract import TaskEvaluation
from app.tasks.forecasting.backtest import HistorySlicer, find_split_points
from app.tasks.forecasting.demo import DEMO
from app.tasks.forecasting.encoding import input_width
from app.tasks.forecasting.evaluation.origins import ForecastingEvaluation
from app.tasks.forecasting.inference import (
    ForecastingInstance,
    ForecastingParameters,
    check_parameters,
    encode_instances,
)
from app.tasks.forecasting.instances import ForecastingInstanceView, check_dataset
from app.tasks.forecasting.metrics import ForecastScores, naive_scales, naive_spread, seasonal_naive
from app.tasks.forecasting.options import (
    EXAMPLE_INSTANCE,
    EXAMPLE_PREDICTION,
    ForecastingOptions,
    ForecastPrediction,
    check_options,
)
from app.tasks.forecasting.panels.panel import build_panel
from app.tasks.forecasting.panels.rows import end_aligned
from app.tasks.forecasting.prediction.answers import (
    build_predictions,
    forecast_quantiles,
    round_counts,
    step_stamps,
)
from app.tasks.forecasting.prediction.calibration import calibrate, terms_of
from app.tasks.forecasting.prediction.columns import prediction_columns
from app.tasks.forecasting.prediction.expectation import PRIOR_WEIGHTS
from app.tasks.forecasting.prediction.known_times import parse_frequency
from app.tasks.forecasting.prediction.records import RECORD_COLUMNS, instances_of_records
from app.tasks.forecasting.preprocessing import (
    MAX_SAMPLED_SERIES,
    NOTHING_OBSERVED,
    fit_covariates,
    fit_preprocessing,
    fit_scale,
    turned_share,
)
from app.tasks.forecasting.reading.instances import read_instances
from app.tasks.forecasting.reading.preview import ForecastingPreviewRow, preview_series
from app.tasks.forecasting.reading.summary import untrainable
from app.tasks.forecasting.reading.table import read_series
from app.tasks.forecasting.sampling import ForecastOrigins, LatestPanel, TrainingWindows
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.workload import workload
from app.tasks.preview import PreviewRows, RowBounds
from app.tasks.series_contract import RecordInstance, SeriesFacts
from app.tasks.source import Faults, Reading, Source
from app.tasks.workload import Workload
from app.typedefs import Json

NO_VALIDATION = "No series is long enough for validation: all epochs are trained."


class ForecastingSplit:
    """A split of training windows or of forecast origins."""

    def __init__(self, source: TrainingWindows | ForecastOrigins) -> None:
        self.source = source
        self.lengths: Ints = source.lengths  # (examples,)
        self.carried = False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather examples with targets for the QUANTILES loss."""
        return Batch(*self.source.gather(rows, rng))


class Forecasting:
    """Global forecasting of many series; the point forecast that is scored is the median."""

    name: ClassVar[str] = "forecasting"
    bidirectional: ClassVar[bool] = False  # every position has a loss: reading backwards would leak it
    formats: ClassVar[tuple[str, ...]] = ("csv", "parquet", "jsonl")
    columns: ClassVar[tuple[str, ...]] = ("unique_id", "ds", "y", "split")
    options: ClassVar[type[BaseModel]] = ForecastingOptions
    instance: ClassVar[type[msgspec.Struct]] = ForecastingInstance
    parameters: ClassVar[type[msgspec.Struct]] = ForecastingParameters
    prediction: ClassVar[type[object]] = ForecastPrediction
    preview_row: ClassVar[type[object]] = ForecastingPreviewRow
    example_instance: ClassVar[Json] = EXAMPLE_INSTANCE
    example_prediction: ClassVar[Json] = EXAMPLE_PREDICTION
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]] = {"series": ({}, {"horizon": 24})}
    slow_to_encode: ClassVar[bool] = False
    loss_changing: ClassVar[frozenset[str]] = frozenset(
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
        TensorField("median", "FP64", (-1,)),  # (horizon,)
    )
    instance_names: ClassVar[dict[str, str]] = {"target": "values"}
    record_columns: ClassVar[frozenset[str]] = RECORD_COLUMNS
    demo: ClassVar[Demo] = DEMO
    evaluation: ClassVar[TaskEvaluation] = ForecastingEvaluation()
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
        reason = untrainable(series)
        return Reading(series.arrays(), summary, warnings, reason, reason is None)

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        """One instance a series of a table; rows after its last value are the known future."""
        return read_instances(source, faults)

    def check(self, summary: Json, options: ForecastingOptions) -> list[Problem]:
        """Problems of the options with the data set: too short series, or unknown covariates."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: ForecastingOptions) -> Defaults:
        """Defaults that suit every data set of series."""
        del summary, options
        return Defaults(self.network_defaults, self.training_defaults)

    def workload(self, summary: Json, options: ForecastingOptions, network: Json, training: Json) -> Workload:
        """How much a training computes at once."""
        return workload(summary, options, network, training)

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        """Metrics of the median or of all quantiles; less is better."""
        del summary
        return {"smape": False, "mase": False, "pinball": False}

    def plan(
        self, arrays: Arrays, options: ForecastingOptions, seed: int, bptt_steps: int | None = None
    ) -> Plan:
        """Divide every series by time, fit the preprocessing on the training parts, and build the splits.

        Raises `Invalid` if no series has two observed values for training.
        """
        del seed, bptt_steps  # nothing is drawn at random, and windows are not carried over
        series = SeriesSet.from_arrays(arrays)
        frequency = parse_frequency(series.freq)
        seasons = (options.season_length,) if options.season_length else frequency.seasons[:1]
        points = find_split_points(series, options.horizon, max(seasons, default=1))
        ends = [p.train_end for p in points]
        state = {**fit_preprocessing(series, ends, options), **fit_covariates(series, ends, options)}
        state |= {"mean": list(PRIOR_WEIGHTS), "turned": turned_share(state, len(series.ids))}
        if not state["bases"]:
            state["theta"] = 0.0
        slicer = HistorySlicer(series, state)
        train = slicer.training_origins((p.series, p.train_end) for p in points)
        refit = slicer.training_origins((p.series, p.refit_end) for p in points)
        if not len(train):
            raise Invalid(NOTHING_OBSERVED)
        of_training, of_origins = LatestPanel(), LatestPanel()
        windows = TrainingWindows(state, slicer, train, of_training)
        sample = windows.sample(MAX_SAMPLED_SERIES)
        state.update(fit_scale(build_panel(state, frequency, sample)))
        valid = slicer.usable_origins((p.series, origin, p.refit_end) for p in points for origin in p.valid)
        test = slicer.usable_origins((p.series, origin, None) for p in points for origin in p.test)
        return Plan(
            state=state,
            input=Input.VECTORS,
            output=Output.QUANTILES,
            features=input_width(state),
            outputs=options.horizon * len(state["quantiles"]),
            train=ForecastingSplit(windows),
            valid=ForecastingSplit(ForecastOrigins(state, slicer, valid, of_origins)),
            test=ForecastingSplit(ForecastOrigins(state, slicer, test, of_origins)),
            refit=ForecastingSplit(TrainingWindows(state, slicer, refit, of_training))
            if options.refit
            else None,
            network={"quantiles": state["quantiles"]},
            warnings=[] if len(valid) else [NO_VALIDATION],
        )

    def calibrate(self, state: Json, split: Split, outputs: list[Floats]) -> Json:
        """The state with the Theta method's share, the widths of intervals and the weights of the mean."""
        return calibrate(state, _forecast_origins(split), outputs)

    def check_dataset(self, summary: Json, state: Json, parameters: ForecastingParameters) -> list[Problem]:
        """Problems of the request: another frequency, a longer horizon, or unknown quantiles."""
        return check_dataset(summary, state, parameters)

    def instances(self, arrays: Arrays, state: Json) -> ForecastingInstanceView:
        """Each series up to its last observed value, as a request."""
        return ForecastingInstanceView(SeriesSet.from_arrays(arrays), state)

    def preview(self, arrays: Arrays, bounds: RowBounds) -> PreviewRows:
        """Each series on its grid, with all its columns."""
        return preview_series(SeriesSet.from_arrays(arrays), bounds)

    def encode(
        self, state: Json, instances: Iterable[ForecastingInstance], parameters: ForecastingParameters
    ) -> list[Example]:
        """The last steps of each series as the network's inputs."""
        check_parameters(state, parameters)
        return encode_together(
            instances, lambda together: encode_instances(state, together, parameters.horizon)
        )

    def decode(
        self,
        state: Json,
        examples: Sequence[Example],
        outputs: Sequence[Floats],
        parameters: ForecastingParameters,
    ) -> list[Json]:
        """The predictions: quantiles of the future steps in measured units."""
        contexts = [example.context for example in examples]
        rows = np.array(outputs)  # (instances, horizon * quantiles)
        requested = parameters.horizon, parameters.quantiles, parameters.level
        return build_predictions(state, contexts, rows, *requested)

    def series_facts(self, state: Json) -> SeriesFacts:
        """Horizon, history, frequency and covariates of a version."""
        frequency = parse_frequency(state["freq"])
        return SeriesFacts(
            horizon=state["horizon"],
            history=state["history"],
            frequency=frequency.alias,
            dated=frequency.unit != "1",
            past=tuple(spec["name"] for spec in state["past"]),
            future=tuple(spec["name"] for spec in state["future"]),
        )

    def instances_of_records(
        self, state: Json, records: Sequence[dict[str, Any]], max_cells: int
    ) -> list[RecordInstance]:
        """One instance a series, from rows or columns of a long table."""
        return instances_of_records(state, records, max_cells)

    def prediction_columns(self, record: Json, prediction: Json) -> dict[str, list[Any]]:
        """A forecast as columns of a long table."""
        return prediction_columns(record, prediction)

    def step_labels(self, state: Json, instance: ForecastingInstance, example: Example) -> list[str]:
        """The time stamps of the steps that are read, or how far before the forecast they lie."""
        del instance
        return step_stamps(state, len(example.inputs), example.context)

    def score(self, state: Json, split: Split, outputs: list[Floats]) -> tuple[Json, Json]:
        """Percent sMAPE, MASE, scaled quantile loss, coverage: of the network and of the seasonal naive."""
        origins, season, horizon = _forecast_origins(split), state["season"], state["horizon"]
        network, naive = ForecastScores(state["quantiles"]), ForecastScores(state["quantiles"])
        for part, histories, terms in terms_of(state, origins, np.arange(len(outputs))):
            exact = forecast_quantiles(state, terms, np.stack([outputs[row] for row in part]))
            quantiles = round_counts(terms, exact)  # (rows, horizon, quantiles)
            medians = quantiles[..., state["quantiles"].index(0.5)]
            targets = histories.targets(horizon)
            pasts = [origins.values_before(row) for row in part.tolist()]
            names = origins.series_names(part)
            for rows, past in end_aligned(pasts):
                scales = naive_scales(past, season)
                own = [names[row] for row in rows.tolist()]
                network.add(targets[rows], medians[rows], quantiles[rows], scales, own)
                point = seasonal_naive(past, season, horizon)  # (rows, horizon)
                spread = naive_spread(past, season, state["quantiles"])  # (rows, quantiles)
                naive.add(targets[rows], point, point[..., None] + spread[:, None], scales)
        return network.result(), naive.result()


def _forecast_origins(split: Split) -> ForecastOrigins:
    """The forecast origins of a split; raises `TypeError` for a split of training windows."""
    if isinstance(split, ForecastingSplit) and isinstance(split.source, ForecastOrigins):
        return split.source
    raise TypeError("only forecasts at origins can be evaluated")


TASK = Forecasting()
