"""Ratios are taken within a round; the tables say plainly what was missed."""

import pytest

from benchmarks.serving.figures import closed, opened
from benchmarks.serving.generator.messages import Report
from benchmarks.serving.measure import LOADS, Result
from benchmarks.serving.targets import Target, comparison, targets


def report(rate: float, p50: float = 1.0, p99: float = 2.0, errors: int = 0) -> Report:
    return Report(int(rate), errors, 0, rate, 64 * rate, p50, p99, 0.1)


def result(rate: float, p50: float, p99: float) -> Result:
    return Result(
        {1: report(rate / 4, p50), 32: report(rate, 9.0, p99, errors=1)},
        {share: report(share * rate) for share in LOADS},
        {"mean": report(rate / 4), "mixed": report(rate / 5)},
        cpu={1: 0.9, 32: 0.25},
        idle=1.5,
        memory=150.0,
        start=2.0,
    )


ROUNDS = [
    {"recurra": result(3000, 1.0, 12.0), "mosec": result(2000, 4.0, 10.0), "celery": result(100, 0.5, 300)},
    {"recurra": result(4000, 1.2, 12.0), "mosec": result(2500, 3.0, 15.0), "celery": result(125, 0.5, 300)},
    {"recurra": result(1600, 1.1, 20.0), "mosec": result(1000, 2.0, 21.0)},
]


def found(what: str) -> Target:
    (one,) = [target for target in targets(ROUNDS, [1, 32]) if what in target.what]
    return one


def test_throughput_is_compared_within_each_round() -> None:
    target = found("mosec 0.9.8")
    assert target.ratios == pytest.approx([1.5, 1.6, 1.6])
    assert (target.sign, target.wanted, target.reached()) == ("≥", 1.5, "yes")


def test_a_peer_that_some_round_lacks_is_compared_in_the_others() -> None:
    target = found("Celery")
    assert target.ratios == pytest.approx([30.0, 32.0])
    assert target.reached() == "yes"


def test_latency_is_compared_with_the_best_peer_that_batches() -> None:
    target = found("p50")
    assert target.ratios == pytest.approx([0.25, 0.4, 0.55])  # Celery's 0.5 ms do not count
    assert target.reached() == "yes"


def test_a_missed_target_says_no() -> None:
    target = found("p99")
    assert target.median == pytest.approx(20 / 21)
    slower = Target("x", "≤", 1.0, [0.9, 1.2, 1.3])
    assert (slower.reached(), slower.row()) == ("**no**", ["x", "≤ 1", "1.20", "0.90 to 1.30", "**no**"])
    assert Target("x", "≥", 1.5, [1.49]).reached() == "**no**"
    assert Target("x", "≥", None, [1.0]).row() == ["x", "", "1.00", "1.00 to 1.00", ""]


def test_mixed_lengths_are_compared_by_steps() -> None:
    assert found("of the same mean").ratios == pytest.approx([0.8] * 3)


def test_tables_hold_medians_and_leave_out_who_was_not_measured() -> None:
    text = closed(ROUNDS, [1, 32])
    assert "| Recurra (`recurra up`) | **750** · 1.1 / 2.0 | **3,000** · 9.0 / 12.0 |" in text
    assert "LitServe" not in text
    line = next(line for line in opened(ROUNDS).splitlines() if "mosec" in line)
    assert line.endswith("| 3 | 0 | 0.25 ms | 1.5 % | 150 MiB | 2.0 s |")
    assert "LitServe" not in comparison(ROUNDS, [1, 32])


def test_a_run_of_one_contestant_has_no_comparison_but_its_own() -> None:
    rounds = [{"recurra": ROUNDS[0]["recurra"]}]
    assert [row.what for row in targets(rounds, [8]) if row.ratios] == [
        "steps/s of mixed lengths (16 to 512) / equal lengths of the same mean",
        "requests/s of the same",
    ]
    assert "mosec" not in comparison([{"mosec": ROUNDS[0]["mosec"]}], [8])
