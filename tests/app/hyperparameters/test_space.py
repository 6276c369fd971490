"""The space of a sweep: what a setting takes, how values are counted, and how they get into a job."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from app.hyperparameters.options import NetworkIn, TrainingIn
from app.hyperparameters.space import (
    ChoiceAxis,
    RangeAxis,
    StepAxis,
    apply_parameters,
    canonical_json,
    count_settings,
    parse_axis,
    plain_types,
    setting_type,
)


class Options(BaseModel):
    """Options of a task."""

    horizon: int = 1
    share: Annotated[float, Field(gt=0)] | None = None
    unit: Literal["word", "bpe"] = "word"
    flag: bool = False


PARTS: dict[str, type[BaseModel]] = {"network": NetworkIn, "training": TrainingIn, "options": Options}


def of(name: str, dimension: object) -> object:
    return parse_axis(dimension, setting_type(name, PARTS))


def test_values_are_taken_as_they_are() -> None:
    assert of("network.cell", ["gru", None]) == ChoiceAxis(["gru", None])
    assert of("options.unit", ["word"]) == ChoiceAxis(["word"])


def test_whole_numbers_have_steps() -> None:
    assert of("network.layers", {"min": 1, "max": 3}) == StepAxis(1, 1, 3)
    steps = of("network.hidden_size", {"min": 16, "max": 100, "step": 32})
    assert isinstance(steps, StepAxis)
    assert [steps.value_at(index) for index in range(steps.count)] == [16, 48, 80]
    assert steps.bounds == [16, 80]
    assert all(isinstance(steps.value_at(index), int) for index in range(3))


def test_other_numbers_have_steps_only_where_a_step_is_set() -> None:
    assert of("training.learning_rate", {"min": 0, "max": 1}) == RangeAxis(0, 1, log=False, integer=False)
    steps = of("options.share", {"min": 0.1, "max": 0.3, "step": 0.1})
    assert isinstance(steps, StepAxis)
    assert [steps.value_at(index) for index in range(steps.count)] == [0.1, 0.2, 0.3]
    span = of("training.learning_rate", {"min": 0.001, "max": 0.1, "log": True})
    assert isinstance(span, RangeAxis)
    assert (span.bounds, span.log, span.count) == ([0.001, 0.1], True, None)


def test_whole_numbers_on_a_log_scale_are_a_span() -> None:
    assert of("network.hidden_size", {"min": 8, "max": 512, "log": True}) == RangeAxis(
        8, 512, log=True, integer=True
    )


@pytest.mark.parametrize(
    ("name", "dimension", "why"),
    [
        ("network.cell", {"min": 1, "max": 2}, "no number"),
        ("options.flag", {"min": 0, "max": 1}, "no number"),
        ("options.unit", {"min": 0, "max": 1}, "no number"),
        ("network.layers", {"min": 1.0, "max": 2}, "whole number"),
        ("network.layers", {"min": 1, "max": 3, "step": 0.5}, "whole number"),
        ("training.learning_rate", {"min": 0, "max": 1, "step": 1e-300}, "too many"),
        ("network.colour", [1], "no setting colour of network"),
        ("network", [1], "name a setting by its part"),
        ("network.", [1], "name a setting by its part"),
        ("optimizer.lr", [1], r"network.…, training.…, options.…"),
        ("", [1], "name a setting by its part"),
    ],
)
def test_what_a_setting_does_not_take_is_refused(name: str, dimension: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        of(name, dimension)


def test_a_field_takes_its_plain_types() -> None:
    assert plain_types(int | None) == {int}
    assert plain_types(Annotated[float, Field(gt=0)] | Annotated[str, Field()] | None) == {float, str}


def test_the_size_of_a_space_is_that_of_its_grid() -> None:
    assert count_settings({"a": ChoiceAxis([1, 2]), "b": StepAxis(1, 1, 5)}) == 10
    assert count_settings({"a": ChoiceAxis([1, 2]), "b": RangeAxis(0, 1, log=False, integer=False)}) is None


def test_equal_values_have_the_same_text() -> None:
    assert canonical_json({"b": 1, "a": [None, "é"]}) == canonical_json({"a": [None, "é"], "b": 1})
    assert canonical_json(1) != canonical_json(1.5)
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))


def test_settings_go_into_the_parts_of_a_job_and_leave_the_base_alone() -> None:
    base = {"network": {"layers": 2}, "options": {"horizon": 3}}
    parts = apply_parameters(base, {"network.cell": "gru", "training.epochs": 5, "options.horizon": 4})
    assert parts == {
        "network": {"layers": 2, "cell": "gru"}, "training": {"epochs": 5}, "options": {"horizon": 4},
    }  # fmt: skip
    assert base == {"network": {"layers": 2}, "options": {"horizon": 3}}
