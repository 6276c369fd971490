"""The verdict follows from the curve and the gates by its rule."""

import pytest

from app.typedefs import Json
from workers.diagnostics.verdict import judge


def found(decay: float, steps: int = 200, saturated: float = 0.0, gate: str = "hidden") -> Json:
    norms = [decay**lag for lag in range(steps)]
    total, memory = sum(norms), 0
    while sum(norms[:memory]) < 0.9 * total:
        memory += 1
    return {
        "gradient_by_lag": [[lag, norm] for lag, norm in enumerate(norms)],
        "memory_length": memory,
        "steps": steps,
        "gates": {gate: {"mean": 0.0, "saturated": saturated}},
    }


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (found(0.99), "ok"),
        (found(0.7), "vanishing"),
        (found(0.7, steps=20), "ok"),
        (found(1.1), "exploding"),
        (found(0.99, saturated=0.95), "saturated"),
        (found(0.99, saturated=0.95, gate="forget"), "ok"),
        ({**found(0.5), "gradient_by_lag": [[lag, 0.0] for lag in range(200)]}, "ok"),
    ],
)
def test_each_verdict_has_its_rule(given: Json, verdict: str) -> None:
    judged = judge(given, "rnn")
    assert judged["verdict"] == verdict
    assert bool(judged["rule"]) == bool(judged["remedy"]) == (verdict != "ok")


@pytest.mark.parametrize(
    ("decay", "gain", "verdict"),
    [
        (0.9, 0.01, "vanishing"),
        (0.9, -0.2, "vanishing"),
        (0.9, 0.1, "ok"),
        (0.9, None, "ok"),
        (0.98, 0.01, "ok"),
        (0.7, 0.9, "vanishing"),
    ],
)
def test_who_learns_nothing_is_told_of_less(decay: float, gain: float | None, verdict: str) -> None:
    """At 0.9 a tenth of the steps holds the gradient, of which 1e-9 reaches the first step."""
    judged = judge(found(decay), "rnn", gain)
    assert judged["verdict"] == verdict
    assert ("validation loss" in judged["rule"]) == (verdict == "vanishing" and decay == 0.9)


def test_the_remedy_names_other_cells_where_there_are_better_ones() -> None:
    assert "network.cell lstm" in judge(found(0.5), "rnn")["remedy"]
    assert "network.cell" not in judge(found(0.5), "lstm")["remedy"]
