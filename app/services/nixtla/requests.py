"""What the package `nixtla` sends: many series as flat lists, without names."""

from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec

from app.errors import Invalid, Problem, pointer
from app.prediction.request_errors import not_json
from app.prediction.request_parsing import MAX_INSTANCES
from app.validation.json_slices import MAX_JSON_VALUES, has_too_many_values
from app.validation.names import unknown_name
from app.validation.schema_errors import UNKNOWN_FIELD, msgspec_problem

MAX_LEVELS = 99
MAX_COLUMNS = 4_096
MAX_WINDOWS = 1_000
MAX_MODEL_NAME_CHARS = 256

Numbers = Annotated[list[float | None], msgspec.Meta(min_length=1, max_length=MAX_JSON_VALUES)]
Sizes = Annotated[
    list[Annotated[int, msgspec.Meta(ge=1)]], msgspec.Meta(min_length=1, max_length=MAX_INSTANCES)
]
ColumnIndices = Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(max_length=MAX_COLUMNS)]
Cells = Annotated[list[float | str | bool | None], msgspec.Meta(max_length=MAX_JSON_VALUES)]
Columns = Annotated[list[Cells], msgspec.Meta(max_length=MAX_COLUMNS)]
Levels = Annotated[list[Annotated[float, msgspec.Meta(ge=0, lt=100)]], msgspec.Meta(max_length=MAX_LEVELS)]
ShortText = Annotated[str, msgspec.Meta(max_length=MAX_MODEL_NAME_CHARS)]
Body = TypeVar("Body", bound="SeriesRequest")


class NixtlaSeries(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Series one behind the other: `sizes` has the number of values of each, `y` all values.

    `X` has columns as long as `y`; those that `X_future` continues over the horizon come first.
    """

    y: Numbers
    sizes: Sizes
    past: Columns | None = msgspec.field(name="X", default=None)
    future: Columns | None = msgspec.field(name="X_future", default=None)
    start_datetime: Annotated[list[ShortText], msgspec.Meta(max_length=MAX_INSTANCES)] | None = None
    categorical_exog: ColumnIndices | None = (
        None  # which columns of X hold texts: the cells say so themselves
    )


NO_HISTORY = (
    "`add_history` is not supported: fitted values say little of forecasts. Leave it out, or ask for windows "
    "of the past by `cross_validation`"
)


class SeriesRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What forecasts and cross-validations have in common."""

    series: NixtlaSeries
    h: Annotated[int, msgspec.Meta(ge=1, le=MAX_JSON_VALUES)]
    freq: ShortText | int
    model: ShortText = "timegpt-1"
    level: Levels | None = None
    clean_ex_first: bool = True
    finetune_steps: int = 0
    finetune_depth: int = 1
    finetune_loss: ShortText = "default"
    finetuned_model_id: ShortText | None = None
    multivariate: bool = False
    model_parameters: dict[str, Any] | None = None

    def check(self) -> None:
        """Raise `Invalid` for what is not done here, and for lists that do not fit together."""
        if self.finetune_steps:
            refuse("finetune_steps", "models are trained by jobs here: POST /v1/jobs makes another version")
        for name in ("finetuned_model_id", "model_parameters"):
            if getattr(self, name) is not None:
                refuse(name, "this field is not supported; `model` names the model")
        if self.multivariate:
            refuse("multivariate", "each series is forecast from its own past")
        series = self.series
        if sum(series.sizes) != len(series.y):
            refuse("series/sizes", f"add up to {sum(series.sizes):,}, but there are {len(series.y):,} values")
        if series.start_datetime is not None and len(series.start_datetime) != len(series.sizes):
            refuse("series/start_datetime", f"takes one time for each of the {len(series.sizes):,} series")
        for index, column in enumerate(series.past or ()):
            if len(column) != len(series.y):
                refuse(f"series/X/{index}", f"has {len(column):,} cells for {len(series.y):,} values")


class NixtlaForecastIn(SeriesRequest, frozen=True, kw_only=True):
    """A request for forecasts of the `h` steps after each series."""

    feature_contributions: bool = False
    feature_contributions_type: ShortText | None = None

    def check(self) -> None:
        """See `SeriesRequest`."""
        SeriesRequest.check(self)
        if self.feature_contributions:
            refuse("feature_contributions", "not supported; POST /v1/models/{name}/explain has influences")
        for index, column in enumerate(self.series.future or ()):
            if len(column) != self.h * len(self.series.sizes):
                steps = self.h * len(self.series.sizes)
                refuse(f"series/X_future/{index}", f"has {len(column):,} cells for {steps:,} steps")


class NixtlaCrossValidationIn(SeriesRequest, frozen=True, kw_only=True):
    """A request for forecasts of the last windows of each series, each from what was known before it."""

    n_windows: Annotated[int, msgspec.Meta(ge=1, le=MAX_WINDOWS)] = 1
    step_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_JSON_VALUES)] | None = None
    refit: bool = False  # of fine-tuning, of which there is none
    hist_exog: ColumnIndices | None = None  # columns of X that are not known ahead
    full_history: bool = False  # what `add_history` of a forecast asks for, with the forecast's other fields
    feature_contributions: bool = False
    feature_contributions_type: ShortText | None = None

    def check(self) -> None:
        """See `SeriesRequest`."""
        if self.full_history:
            refuse("full_history", NO_HISTORY)
        SeriesRequest.check(self)
        required = 1 + self.h + self.step * (self.n_windows - 1)
        for index, size in enumerate(self.series.sizes):
            if size < required:
                refuse(
                    "n_windows", f"the series {index} has {size:,} values; these windows need {required:,}"
                )

    @property
    def step(self) -> int:
        """Steps between two windows."""
        return self.h if self.step_size is None else self.step_size


def refuse(place: str, detail: str) -> None:
    """Raise `Invalid` about a field."""
    raise Invalid(problems=[Problem(pointer(*place.split("/")), detail)])


@cache
def _decoder(kind: type[Body]) -> "msgspec.json.Decoder[Body]":
    return msgspec.json.Decoder(kind)


def parse_series_request(kind: type[Body], body: bytes) -> Body:
    """Parse and check a body; raises `Invalid` with a pointer."""
    if has_too_many_values(body):
        raise Invalid(f"A request may have {MAX_JSON_VALUES:,} values; send the series in parts")
    try:
        request: Body = _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        problem = msgspec_problem(str(error))
        if match := UNKNOWN_FIELD.search(problem.detail):
            known = NixtlaSeries if problem.pointer == "/series" else kind
            detail = unknown_name("field", match["name"], known.__struct_encode_fields__)
            problem = problem._replace(detail=detail)
        raise Invalid(problems=[problem]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from None
    request.check()
    return request
