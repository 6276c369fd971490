"""The columns of a file are guessed, and every column of every task is explained."""

import pytest

from app.page.columns import for_this_page, guess_columns, role_of
from app.tasks import TASKS

FORECASTING = TASKS["forecasting"].columns
CLASSIFICATION = TASKS["classification"].columns


def table(text: str) -> dict[str, list[str]]:
    head, *rows = (line.split(",") for line in text.split())
    return {column: [row[index] for row in rows] for index, column in enumerate(head)}


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        (
            "date,store,sales 2020-01-01,a,1 2020-01-02,a,2",
            {"ds": "date", "unique_id": "store", "y": "sales"},
        ),
        (
            "wann,filiale,temperatur,umsatz 1.1.2020,a,3,1 1.1.2020,b,3,2.5",
            {"ds": "wann", "unique_id": "filiale", "y": "umsatz"},
        ),
        ("when,weather,n 2020-01-01,sunny,3 2020-01-02,rain,NA", {"ds": "when", "y": "n"}),
        ("Unique_ID,DS,Y a,1,2 a,2,3", {"unique_id": "Unique_ID", "ds": "DS", "y": "Y"}),
        ("a,b x,y", {}),
    ],
)
def test_columns_of_series(text: str, guess: dict[str, str]) -> None:
    assert guess_columns(FORECASTING, table(text)) == guess


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("review,stars good,5 bad,1 fine,5 poor,1", {"text": "review", "label": "stars"}),
        ("art,satz a,lang-lang b,kurz a,noch-einer b,auch", {"text": "satz", "label": "art"}),
        ("nr,satz 1,gut 2,schlecht 3,gut-gut 4,naja", {"text": "satz"}),
    ],
)
def test_columns_of_labelled_texts(text: str, guess: dict[str, str]) -> None:
    assert guess_columns(CLASSIFICATION, table(text)) == guess


def test_columns_of_pairs_and_of_names_alone() -> None:
    assert guess_columns(TASKS["translation"].columns, table("en,de yes,ja no,nein")) == {
        "source": "en", "target": "de",
    }  # fmt: skip
    assert guess_columns(TASKS["speech"].columns, {"audio_filepath": [], "transcript": [], "a": []}) == {
        "audio": "audio_filepath", "text": "transcript",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_column_of_a_task_is_described(name: str) -> None:
    assert all(role_of(column).description for column in TASKS[name].columns)


def test_a_fault_names_what_the_page_has() -> None:
    fault = "There is no column 'ds' (the file has a); name it with `columns`."
    assert for_this_page(fault) == "There is no column 'ds' (the file has a); choose the column above."
    other = "There is no field 'text' (the line is empty); name the column that has it with `columns`."
    assert for_this_page(other).endswith("choose the column above.")
    assert for_this_page("name it") == "name it"
