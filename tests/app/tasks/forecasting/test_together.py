"""An instance has the same inputs and the same prediction alone and among others, bit for bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.tasks.encode_instances import InvalidInstance
from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.series import series_set, waves

HORIZON = 6
PARAMETERS = ForecastingParameters(quantiles=[0.2, 0.5, 0.9])


def state_of(freq: str = "D", length: int = 120, lift: float = 0.0, **options: Any) -> Json:
    values = [wave + lift for wave in waves(6, length, season=24 if freq == "h" else 7)]
    return TASK.plan(
        series_set(values, freq).arrays(), ForecastingOptions(horizon=HORIZON, **options), 0
    ).state


def with_covariates() -> Json:
    values = waves(4, 90)
    points = sum(map(len, values))
    columns = {"promo": np.sin(np.arange(points)), "price": np.cos(np.arange(points))}
    series = series_set(values, static=list("abca"), covariates=columns, known_ahead=["promo"])
    return TASK.plan(series.arrays(), ForecastingOptions(horizon=HORIZON), 0).state


COUNTS = [np.random.default_rng(k).poisson(0.6, 120).astype(float) for k in range(8)]
STATES: dict[str, Json] = {
    "days": state_of(),
    "hours": state_of("h", 900),
    "months": state_of("MS"),
    "undated": state_of("1"),
    "no season": state_of(season_length=1),
    "plain": state_of(transform="none"),
    "signed": state_of(transform="signed"),
    "last season": state_of("h", 900, lift=1e3) | {"bases": [24]},
    "counts": TASK.plan(series_set(COUNTS).arrays(), ForecastingOptions(horizon=HORIZON), 0).state,
    "covariates": with_covariates(),
}
MIXED = {"theta": 0.4, "widths": [1.0 + 0.1 * lead for lead in range(HORIZON)]}
STATES |= {f"{name}, mixed": state | MIXED for name, state in STATES.items() if "theta" in state}


def values_of(rng: np.random.Generator, length: int) -> list[float | None]:
    """Values of one of several kinds: waves, noise around zero, a constant, counts; some are missing."""
    kind, scale = rng.integers(5), 10.0 ** rng.integers(-3, 7)
    wave = np.sin(2 * np.pi * np.arange(length) / 7)
    made = (wave + 3, rng.normal(size=length), np.ones(length), rng.poisson(0.5, length), wave * 0 - 1)[kind]
    values = [float(value) for value in scale * made]
    missing = rng.random(length) < rng.choice([0.0, 0.2, 0.9])
    missing[rng.integers(length)] = False
    return [None if gone else value for gone, value in zip(missing, values, strict=True)]


def instance_of(name: str, rng: np.random.Generator, length: int) -> ForecastingInstance:
    state, start = STATES[name], None
    if rng.random() < 0.7:
        day = f"20{rng.integers(0, 40):02}-{rng.integers(1, 13):02}-{rng.integers(1, 29):02}"
        start = int(rng.integers(1000)) if state["freq"] == "1" else day
    values, covariates = values_of(rng, length), dict[str, Any]()
    if name.startswith("covariates") and rng.random() < 0.7:
        covariates = {
            "past": {"price": rng.normal(size=length).tolist(), "promo": [0.5] * length},
            "future": {"promo": rng.normal(size=HORIZON).tolist()},
            "static": {"kind": "b"},
        }
    return ForecastingInstance(values=values, start=start, item_id=int(rng.integers(9)), **covariates)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(STATES)),
    st.lists(st.integers(1, 60) | st.integers(1, 700), min_size=2, max_size=12),
    st.integers(0, 2**32 - 1),
)
def test_alone_and_together_are_the_same(name: str, lengths: list[int], seed: int) -> None:
    rng, state = np.random.default_rng(seed), STATES[name]
    instances = [instance_of(name, rng, length) for length in lengths]
    outputs = rng.normal(size=(len(lengths), HORIZON * len(state["quantiles"]))).astype(np.float32)
    together = TASK.encode(state, instances, PARAMETERS)
    predictions = TASK.decode(state, together, list(outputs), PARAMETERS)
    for instance, example, output, prediction in zip(instances, together, outputs, predictions, strict=True):
        (alone,) = TASK.encode(state, [instance], PARAMETERS)
        assert alone.inputs.tobytes() == example.inputs.tobytes()
        assert alone.context.terms.tobytes() == example.context.terms.tobytes()
        assert TASK.decode(state, [alone], [output], PARAMETERS) == [prediction]


def test_more_than_fits_one_chunk_is_the_same_too() -> None:
    rng, state = np.random.default_rng(0), STATES["days"]
    instances = [instance_of("days", rng, int(length)) for length in rng.integers(1, 400, 700)]
    together = TASK.encode(state, instances, PARAMETERS)
    for row in range(0, 700, 41):
        (alone,) = TASK.encode(state, [instances[row]], PARAMETERS)
        assert alone.inputs.tobytes() == together[row].inputs.tobytes()
        assert alone.context.terms.tobytes() == together[row].context.terms.tobytes()


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"values": [1.0, "many"]}, "/values/1"),
        ({"values": [1.0, 2.0, float("inf")]}, "/values/2"),
        ({"values": [None, None]}, "/values"),
        ({"values": [1.0], "start": "yesterday"}, "/start"),
        ({"values": [1.0], "freq": "h"}, "/freq"),
        ({"values": [1.0], "past": {"x": [1.0]}}, "/past/x"),
    ],
)
def test_the_first_wrong_instance_is_named(wrong: dict[str, Any], pointer: str) -> None:
    fine = ForecastingInstance(values=[1.0, None, 3.0])
    instances = [fine, fine, ForecastingInstance(**wrong), fine, ForecastingInstance(values=[None])]
    with pytest.raises(InvalidInstance) as caught:
        TASK.encode(STATES["days"], instances, ForecastingParameters())
    assert caught.value.index == 2
    assert [problem.pointer for problem in caught.value.problems] == [pointer]
