"""How a table is written: its separator, and whether its numbers have decimal commas."""

import pytest

from app.ingest.readers import Mapping
from app.ingest.readers.delimited.dialect import Dialect, detect_dialect

COLUMNS = Mapping({}, ("unique_id", "ds", "y", "text", "label"))


def detect(text: str, **columns: str) -> Dialect:
    return detect_dialect(text.splitlines(keepends=True), Mapping(columns, COLUMNS.canonical))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_the_separator_is_that_of_the_header_and_the_rows(mark: str, quote: str) -> None:
    rows = [["ds", "y"], ["2024-01-01", "1"], ["2024-01-02", "2"]]
    text = "".join(mark.join(f"{quote}{cell}{quote}" for cell in row) + "\n" for row in rows)
    assert detect(text) == Dialect(mark)
    assert detect("\n\n" + text.replace("\n", "\r\n")) == Dialect(mark)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("text,label\nGood; but long; too long,neg\n", ","),
        ("text,label\na|b;c,neg\n", ","),
        ("text;label\nGood, but long, too long;neg\n", ";"),
        ('text;label\n"Good; but, long";neg\n', ";"),
        ("Day, as sold;y\n2024-01-01;1,5\n", ";"),  # by commas its header has two fields too
        ("text\nno; separator, here\n", ","),
        ("", ","),
        ("\n\n", ","),
        ('a;b,c\n1;2,3\n"', ","),  # both would do: the one of RFC 4180
        ("a;b;c,d\n1;2;3\n1;2;4\n", ";"),
        ("ds;y\n2024-01-01;1;extra\n2024-01-02;2\n", ";"),
        ("a,b;c\n1,2\n3,4\n5,6;7\n", ","),
    ],
)
def test_what_could_be_read_in_several_ways(text: str, mark: str) -> None:
    assert detect(text).separator == mark


def test_columns_that_are_named_decide() -> None:
    text = "Day;Sold, net\n2024-01-01;1,5\n"
    assert detect(text, ds="Day", y="Sold, net").separator == ";"
    assert detect(text).separator == ","


def test_excel_may_say_which_it_is() -> None:
    assert detect("sep=;\nday;sold, net\n2024;1,5\n") == Dialect(
        ";", decimal_comma=True, has_declaration=True
    )
    assert detect('"sep=|"\r\nday|sold\r\n2024|1\r\n') == Dialect("|", has_declaration=True)
    assert detect("sep=x\nday,sold\n").has_declaration is False


@pytest.mark.parametrize(
    ("cells", "decimal"),
    [
        (["1,5", "2", "", "-3,25"], True),
        (["1,5e3", "2,5"], True),
        (["1.234,50", "2,5"], True),  # with points between thousands
        (["1,5", "n. v.", *["2,5"] * 9], True),  # with a fault among them
        (["1", "2", "3"], False),
        (["1,250", "2,500"], False),  # thousands, or thirds of a decimal
        (["1,250", "2,5"], True),
        (["12,345,678", "2,5"], False),
        (["1.5", "2,5"], False),
        (["1,5 kg", "2,5 kg"], False),
        (["A,B", "C,D"], False),
    ],
)
def test_commas_are_decimal_where_nothing_speaks_against_it(cells: list[str], decimal: bool) -> None:
    text = "ds;y\n" + "".join(f"2024-01-{day:02d};{cell}\n" for day, cell in enumerate(cells, 1))
    assert detect(text).decimal_comma is decimal
    assert not detect(text.replace(",", "!").replace(";", ",").replace("!", ".")).decimal_comma


def test_all_columns_of_numbers_have_to_agree() -> None:
    rows = "".join(f"0{day}.02.2024;{day},5;{day}.25\n" for day in range(1, 8))
    assert detect("ds;y;price\n" + rows) == Dialect(";")
    assert detect("ds;y;price\n" + rows.replace(".25", "")).decimal_comma  # dates are no numbers


def test_the_last_row_of_a_sample_may_be_cut() -> None:
    assert detect('ds;y\n1;2,5\n3;"4,5') == Dialect(";", decimal_comma=True)
