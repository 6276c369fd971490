"""The benchmark of verdicts: its data sets, and which verdicts it calls right."""

from pathlib import Path

import orjson
import pytest

from benchmarks.verdicts.__main__ import PARTS, TASKS, Run, rows_of, write_task
from tests.support.factories.planted import FEATURES, SYMBOLS, VALUE


def run(cell: str, accuracy: float, verdict: str, task: str = "adding") -> Run:
    return Run(task, 100, cell, accuracy, verdict, 9, 1.0)


@pytest.mark.parametrize(
    ("one", "right"),
    [
        (run("rnn", 0.51, "vanishing"), True),
        (run("rnn", 0.51, "exploding"), True),
        (run("rnn", 0.51, "ok"), False),
        (run("rnn", 0.98, "ok"), True),
        (run("rnn", 0.98, "vanishing"), False),
        (run("rnn", 0.5, "vanishing", "copy"), True),
        (run("rnn", 0.7, "ok", "copy"), True),
        (run("lstm", 0.51, "ok"), True),
        (run("gru", 0.98, "vanishing"), False),
    ],
)
def test_a_verdict_is_right_that_tells_who_forgets(one: Run, right: bool) -> None:
    assert one.right is right


@pytest.mark.parametrize("task", TASKS)
def test_a_data_set_has_its_parts_and_each_answer(task: str, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    write_task(path, task, 20, 0)
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert {part: sum(row["split"] == part for row in rows) for part in PARTS} == PARTS
    assert len({row["label"] for row in rows}) == (SYMBOLS if task == "copy" else 2)
    assert all(len(values) == FEATURES for row in rows for values in row["values"])
    assert len({row["values"][0][VALUE] for row in rows}) > len(rows) // 2


def test_a_row_has_the_figures_of_each_cell_and_seed() -> None:
    found = [run("rnn", 0.5, "vanishing"), run("rnn", 0.52, "ok"), run("lstm", 1.0, "ok")]
    assert next(rows_of(found)) == [
        100,
        "adding",
        "0.50, 9 steps, `vanishing`; 0.52, 9 steps, `ok`",
        "1.00, 9 steps, `ok`",
        "",
    ]
