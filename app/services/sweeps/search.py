"""The request of a sweep: a job, the settings to search, and how to search them."""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationError, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from app.hyperparameters.options import StrictModel
from app.hyperparameters.space import canonical_json
from app.schemas import JobIn, Text
from app.tasks.shared.validation_metrics import VALIDATION_LOSS
from app.typedefs import Json

MINIMIZE, MAXIMIZE = "minimize", "maximize"
MAX_VALUES = 64  # of one setting
MAX_NUMBER = 1e15  # every number up to it can be stored in the database and in JSON

Number = Annotated[int | float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]


class Range(StrictModel):
    """Numbers from `min` to `max`, both included."""

    min: Number
    max: Number
    log: bool = False
    step: Annotated[int | float, Field(gt=0, le=MAX_NUMBER)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if self.min >= self.max:
            raise PydanticCustomError("range", "min must be less than max")
        if self.log and self.min <= 0:
            raise PydanticCustomError("range", "min must be more than 0 on a log scale")
        if self.log and self.step is not None:
            raise PydanticCustomError("range", "a range has a log scale or a step, not both")
        if self.step is not None and self.step > self.max - self.min:
            raise PydanticCustomError("range", "step must not be more than max - min")
        return self


def _dimension(value: Any) -> list[Any] | Json:
    if isinstance(value, list):
        return _distinct(value)
    if not isinstance(value, dict):
        raise PydanticCustomError(
            "dimension", "Input should be a list of values, or a range with min and max"
        )
    try:
        return Range.model_validate(value).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        prefix = "".join(f"{step}: " for step in first["loc"][:1])
        raise PydanticCustomError("dimension", "{message}", {"message": prefix + first["msg"]}) from None


def _distinct(values: list[Any]) -> list[Any]:
    if not 0 < len(values) <= MAX_VALUES:
        raise PydanticCustomError("dimension", f"List should have 1 to {MAX_VALUES} values")
    try:
        texts = [canonical_json(value) for value in values]
        "".join(texts).encode()
    except (ValueError, RecursionError):
        raise PydanticCustomError("dimension", "Values should be JSON of Unicode text") from None
    for index, text in enumerate(texts):
        if text in texts[:index]:
            raise PydanticCustomError("dimension", "{value} is there twice", {"value": text})
    return values


Dimension = Annotated[
    list[Any] | Json,
    PlainValidator(_dimension),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {}, "minItems": 1, "maxItems": MAX_VALUES, "uniqueItems": True},
                Range.model_json_schema(),
            ]
        }
    ),
]


class SweepIn(JobIn):
    """A job to run many times: each trial sets the searched settings, and runs once for each seed."""

    search: dict[Text, Dimension] = Field(
        min_length=1,
        max_length=16,
        description="Dotted names (`network.…`, `training.…`, `options.…`), each with a list or a range.",
        examples=[
            {"network.cell": ["rnn", "lstm", "gru"], "training.learning_rate": {"min": 1e-4, "max": 1e-2}}
        ],
    )
    metric: Text = Field(
        default=VALIDATION_LOSS,
        description="The metric on validation data: `valid_loss`, or one of the task such as `accuracy`.",
    )
    sampler: Literal["grid", "random", "tpe"] | None = Field(
        default=None, description="By default `grid` where that takes at most `max_trials`, else `tpe`."
    )
    max_trials: int = Field(default=20, ge=1, le=200)
    seeds: int = Field(default=3, ge=1, le=10, description="Runs of each trial.")
    prune: bool | None = Field(
        default=None,
        description="End a trial whose first run falls behind the median by its validation loss after each "
        "epoch. By default where trials are compared by that.",
    )
    max_parallel: int | None = Field(
        default=None, ge=1, le=64, description="Runs at once; by default one for each worker, at least 2."
    )
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        le=30 * 86_400,
        description="From its beginning; then the best so far is the result.",
    )
