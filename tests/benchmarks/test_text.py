"""The rows of text: who is entered with what, and what they are compared with."""

from pathlib import Path

import pytest

from benchmarks.serving.figures import closed, opened
from benchmarks.serving.generator.messages import Corpus, Report, load_corpus
from benchmarks.serving.measure import Plan, Result
from benchmarks.serving.requests.sentences import ROWS
from benchmarks.serving.requests.versions import Made, Row
from benchmarks.serving.settings import Asked
from benchmarks.serving.text import REQUESTS, comparison, comparisons, entries, numbers

CORPUS = Corpus([b"{}"], [{"label": "pos", "scores": {"pos": 1.0}}], [3])


def result(rate: float, p99: float = 2.0, refused: int = 0) -> Result:
    report = Report(int(rate), refused, 0, rate, 20 * rate, 1.0, p99, 0.1, refused=refused)
    return Result({32: report}, cpu={32: 0.5}, idle=1.0, memory=100.0, start=2.0)


ROUNDS = [
    {
        "sentiment recurra": result(4000, 10.0),
        "sentiment fastapi": result(2000, 20.0),
        "tagging recurra": result(1000, refused=1200),
        "tagging fastapi": result(800),
        "numbers recurra": result(5000),
    },
    {"sentiment recurra": result(3000, 9.0), "sentiment fastapi": result(1000, 30.0)},
]


def entered(directory: Path, *only: str) -> list[tuple[str, str, str, str, str]]:
    base = Plan(directory, Path("numbers"), {"equal": Path("e"), "mixed": Path("m")}, Path(), shares=())
    made = [Made(row, directory / row.name, CORPUS, 1) for row in ROWS]
    asked = Asked(only, Path())
    found = [*entries(made, base, asked), *numbers(base, asked)]
    for one in found:
        assert one.plan.shares == ()
        assert set(one.plan.corpora) == {one.plan.usual}  # nothing but closed loops
        if one.plan.usual == REQUESTS:
            assert load_corpus(one.plan.corpora[REQUESTS]) == CORPUS
    return [
        (one.name, one.contestant.path, one.plan.task, one.plan.model, one.plan.artifact.name)
        for one in found
    ]


def test_each_row_has_its_own_network_in_both_servers(tmp_path: Path) -> None:
    assert entered(tmp_path, "recurra", "fastapi") == [
        ("sentiment recurra", "/v1/models/sentiment/predict", "classification", "sentiment", "sentiment"),
        ("sentiment fastapi", "/predict", "classification", "sentiment", "sentiment"),
        ("tagging recurra", "/v1/models/tagging/predict", "tagging", "tagging", "tagging"),
        ("tagging fastapi", "/predict", "tagging", "tagging", "tagging"),
        ("numbers recurra", "/v2/models/lstm:network/infer", "forecasting", "lstm", "numbers"),
    ]


@pytest.mark.parametrize("only", ["recurra", "fastapi"])
def test_one_server_can_be_measured_alone(only: str, tmp_path: Path) -> None:
    assert {name.split()[1] for name, *_ in entered(tmp_path, only, "mosec")} == {only}


def test_ratios_are_taken_within_a_round() -> None:
    found = {one.what: one.ratios for one in comparisons(ROUNDS, ROWS, [32])}
    assert found == {
        "sentiment: requests/s at 32 clients / FastAPI": [2.0, 3.0],
        "sentiment: p99 at 32 clients / FastAPI": [0.5, 0.3],
        "sentiment: requests/s at 32 clients / numbers": [0.8],
        "tagging: requests/s at 32 clients / FastAPI": [1.25],
        "tagging: p99 at 32 clients / FastAPI": [1.0],
        "tagging: requests/s at 32 clients / numbers": [0.2],
    }


def test_each_number_of_clients_has_its_own_ratio() -> None:
    def both(one: float, many: float) -> Result:
        alone, clients = result(one).closed[32], result(many).closed[32]
        return Result({1: alone, 8: clients})

    rounds = [{"x recurra": both(100, 900), "x fastapi": both(200, 300)}]
    found = {one.what: one.ratios for one in comparisons(rounds, [Row("x", "tagging", "", 1, 1)], [1, 8])}
    assert found["x: requests/s at 1 client / FastAPI"] == [0.5]
    assert found["x: requests/s at 8 clients / FastAPI"] == [3.0]


def test_tables_leave_out_what_was_not_measured() -> None:
    lines = comparison(ROUNDS[1:], ROWS, [32]).splitlines()
    assert lines[2:] == [
        "| sentiment: requests/s at 32 clients / FastAPI | 3.00 | 3.00 to 3.00 |",
        "| sentiment: p99 at 32 clients / FastAPI | 0.30 | 0.30 to 0.30 |",
    ]


def test_refusals_are_told_apart_from_other_errors() -> None:
    labels = {"tagging recurra": "tagging, ours", "numbers recurra": "numbers, ours"}
    assert closed(ROUNDS, [32], labels).splitlines()[2] == "| tagging, ours | **1,000** · 1.0 / 2.0 |"
    lines = opened(ROUNDS, labels, ()).splitlines()
    assert lines[2] == "| tagging, ours | 1,200 (1,200 refused) | 0 | 0.50 ms | 1.0 % | 100 MiB | 2.0 s |"
    assert lines[3].startswith("| numbers, ours | 0 | 0 |")
