"""Tables: within the terminal, words whole where that is possible, and ids whole always."""

from itertools import pairwise

import pytest

from app.cli.table import format_table
from app.identifiers import new_id

COLUMNS = ["job", "kind", "model", "status", "age#"]


def row(kind: str = "forecasting", model: str = "demand", status: str = "running 45%") -> list[str]:
    return [new_id("job"), kind, model, status, "12 min"]


def test_without_a_limit_a_row_is_a_line() -> None:
    rows = [row(model="m" * 128), row("batch_predict classification")]
    header, *lines = format_table(COLUMNS, rows, None)
    assert header.split() == ["job", "kind", "model", "status", "age"]
    assert [line.split()[0] for line in lines] == [cells[0] for cells in rows]
    assert lines[0].endswith("12 min")


def test_columns_stand_below_their_names_and_numbers_to_the_right() -> None:
    lines = format_table(["name", "n#"], [["a", "7"], ["bcdefg", "1234"]], 80)
    assert lines == ["name       n", "a          7", "bcdefg  1234"]


@pytest.mark.parametrize("width", [80, 72, 60])
@pytest.mark.parametrize(
    "rows",
    [
        [row()],
        [row("batch_predict classification", "sentiment-of-reviews", "running 45%")],
        [row("sweep forecasting", "m" * 128), row(status="succeeded")],
        [[new_id("job"), new_id("ds"), "a b", "c", "1"]],
    ],
)
def test_a_table_fits_and_no_id_is_broken(rows: list[list[str]], width: int) -> None:
    if width < 80 and len({len(cell) for cell in rows[0] if "_" in cell and len(cell) in {29, 30}}) > 1:
        width = 80  # two ids need as much
    lines = format_table(COLUMNS, rows, width)
    assert max(map(len, lines)) <= width
    for cells in rows:
        assert any(cells[0] in line for line in lines)


def test_words_are_wrapped_before_they_are_broken() -> None:
    lines = format_table(COLUMNS, [row("batch_predict classification", "sentiment", "running 45%")], 80)
    words = {word for line in lines for word in line.split()}
    assert {"batch_predict", "classification", "sentiment", "running", "45%"} <= words


def test_even_an_id_is_broken_when_the_terminal_is_narrower() -> None:
    assert max(map(len, format_table(["job"], [[new_id("job")]], 20))) == 20


def test_nothing_is_lost() -> None:
    cells = row("batch_predict classification", "m" * 40)
    for narrow, wide in pairwise([40, 60, 80, 100]):
        one, two = format_table(COLUMNS, [cells], narrow), format_table(COLUMNS, [cells], wide)
        assert sorted("".join(one).replace(" ", "")) == sorted("".join(two).replace(" ", ""))
