"""Options of a forecasting job, and whether a data set allows them."""

from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.errors import Problem
from app.tasks.contract import Prediction
from app.tasks.forecasting.backtest import MIN_EXTRA_POINTS, min_length
from app.typedefs import Json

Probability = Annotated[float, Field(gt=0, lt=1)]
Columns = Annotated[list[str], Field(max_length=4_096)]


class ForecastingOptions(BaseModel):
    """What a forecasting job can choose."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    horizon: Annotated[int, Field(ge=1, le=1000, description="How many steps ahead to forecast.")]
    context_length: Annotated[
        int | None,
        Field(ge=1, le=10_000, description="Steps the network reads; null: chosen from the season."),
    ] = None
    quantiles: Annotated[
        list[Probability],
        Field(min_length=1, max_length=99, description="Quantiles to forecast; the median always is."),
    ] = [0.1, 0.5, 0.9]
    season_length: Annotated[
        int | None,
        Field(ge=1, le=10_000, description="Steps in a season; null: from the frequency; 1: none."),
    ] = None
    transform: Annotated[
        Literal["auto", "log", "signed", "none"],
        Field(
            description="Applied first: logarithm, inverse hyperbolic sine, nothing, or by the values' sign."
        ),
    ] = "auto"
    past_covariates: Annotated[
        Columns | None, Field(description="Columns known up to the origin; null: all that are not future.")
    ] = None
    future_covariates: Annotated[
        Columns | None, Field(description="Columns known over the horizon; null: those the file says are.")
    ] = None
    static_covariates: Annotated[
        Columns | None, Field(description="Columns that describe a whole series; null: all.")
    ] = None
    refit: Annotated[
        bool, Field(description="Publish a network trained on all data for as many steps as served best.")
    ] = True

    @field_validator("quantiles")
    @classmethod
    def _sorted_unique(cls, quantiles: list[float]) -> list[float]:
        if len(set(quantiles)) < len(quantiles):
            raise ValueError("quantiles must differ from each other")
        return sorted(quantiles)


class ForecastInterval(TypedDict):
    """The bounds of a central interval, one for each step."""

    lower: list[float]
    upper: list[float]


class ForecastPrediction(Prediction):
    """The future of a series, its expectation and its median.

    `intervals` only where their `level` is requested, `timestamps` only where the series is dated.
    """

    item_id: str | None
    mean: list[float]
    median: list[float]
    quantiles: dict[str, list[float]]
    intervals: NotRequired[dict[str, ForecastInterval]]
    timestamps: NotRequired[list[str | int]]


EXAMPLE_INSTANCE: Json = {
    "values": [12.0, 15.0, 14.0, None, 13.0, 17.0, 21.0],
    "start": "2026-01-01",
    "freq": "D",
    "item_id": "shop 1",
}


def check_options(summary: Json, options: ForecastingOptions) -> list[Problem]:
    """Problems of these options with a data set of this summary; pointers into the job."""
    return [*_check_lengths(summary, options), *_check_covariates(summary, options)]


def _check_lengths(summary: Json, options: ForecastingOptions) -> list[Problem]:
    """Whether the longest series is long enough for the horizon and two seasons."""
    longest, horizon = summary["longest_train"], options.horizon
    marked = summary.get("split")
    required = horizon + MIN_EXTRA_POINTS + 1 if marked else min_length(horizon)
    problems = []
    if longest < required:
        where = " outside the valid and test splits" if marked else ""
        problems.append(
            Problem(
                "/options/horizon",
                f"The longest series has {longest} observations{where}; "
                f"horizon {horizon} needs at least {required}.",
            )
        )
    if options.season_length and options.season_length > max(1, longest // 2):
        detail = f"The longest series has {longest} observations, less than two such seasons."
        problems.append(Problem("/options/season_length", detail))
    return problems


def _check_covariates(summary: Json, options: ForecastingOptions) -> list[Problem]:
    """Whether the data set has the columns, and no column is both past and future."""
    columns = summary["covariates"]
    varying = [*columns["numeric"], *columns["category"]]
    problems = []
    for field, names in (
        ("past_covariates", varying),
        ("future_covariates", varying),
        ("static_covariates", columns["static"]),
    ):
        for index, name in enumerate(getattr(options, field) or []):
            if name not in names:
                detail = f"The data set has no such column; it has {', '.join(names) or 'none'}."
                problems.append(Problem(f"/options/{field}/{index}", detail))
    for index, name in enumerate(options.past_covariates or []):
        if name in (options.future_covariates or []):
            problems.append(
                Problem(f"/options/past_covariates/{index}", f"{name} is already a future covariate.")
            )
    return problems
