"""HTML of predictions: everything from users is escaped, and everything is there."""

import math

import pytest

from app.page import markup
from app.page.predictions.labels import confusion_matrix
from app.page.predictions.notes import key_name, piano_roll
from app.page.predictions.tags import marked_text, tagged_words
from app.page.predictions.texts import attention_table, written_text
from app.page.views.board import read_samples
from app.page.views.jobs import describe_event, loss_lines
from app.page.views.results import example_title
from app.page.views.training import model_name, read_search
from app.page.views.trying import shortened

ATTACK = "<img src=x onerror=alert(1)>\"'&"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;"


def test_entities_are_marked_where_they_stand() -> None:
    text = f"Ada Lovelace, {ATTACK}, of London"
    entities = [
        {"type": "place", "text": "London", "start": len(text) - 6, "end": len(text)},
        {"type": ATTACK, "text": "Ada Lovelace", "start": 0, "end": 12},
        {"type": "place", "text": "Ada", "start": 0, "end": 3},  # within another one
    ]
    html = marked_text(text, entities)
    assert html.count("<mark") == 2
    assert f"Ada Lovelace<span class='kind'>{ESCAPED}</span></mark>, {ESCAPED}, of <mark" in html
    assert ATTACK not in html


def test_wrong_tags_say_what_is_right() -> None:
    html = tagged_words(["Ada", ATTACK], ["B-per", "O"], ["B-per", "B-loc"])
    assert html.count("wrong") == 1
    assert "O (is B-loc)" in html
    assert ATTACK not in html


def test_pictures_of_answers() -> None:
    roll = piano_roll(
        [
            {"pitch": 60, "start": 0.0, "end": 0.5, "velocity": 80},
            {"pitch": 67, "start": 0.5, "end": 1, "velocity": 90},
        ]
    )
    assert roll.count("class='sound'") == 2
    assert "2 notes in 1.0 s, from C4 to G4" in roll
    assert (key_name(21), key_name(108)) == ("A0", "C8")
    attention = attention_table([ATTACK, "b"], ["x"], [[0.25, 0.75]])
    assert "--share: 75%" in attention
    assert ATTACK not in attention
    assert ATTACK not in written_text(ATTACK, ATTACK)
    matrix = confusion_matrix(["a", ATTACK], [[3, 1], [0, 0]])
    assert "--share: 75%" in matrix
    assert ATTACK not in matrix


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, markup.EMPTY), (True, "yes"), (0, "0"), (1234567, "1,234,567"), (0.123456789, "0.12346"),
        (2.0, "2"), (math.nan, "nan"), (ATTACK, ESCAPED), ([1, None, "a"], "1, null, a"),
        ({"a": 1}, "{&#34;a&#34;: 1}"), (list(range(10)), "0, 1, 2, 3, 4, 5, 6, 7, … (10)"),
        ("x" * 400, "x" * 300 + "…"),
    ],
)  # fmt: skip
def test_values_in_tables(value: object, shown: str) -> None:
    assert markup.cell(value) == shown


def test_tables_have_headings() -> None:
    html = markup.table(("Name", ATTACK), [("a", ATTACK)], ATTACK)
    assert html.count("scope='col'") == 2
    assert html.count("scope='row'") == 1
    assert ATTACK not in html
    assert markup.flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
    assert (markup.byte_size(512), markup.byte_size(3 << 20)) == ("512 bytes", "3.0 MiB")


def test_curves_have_a_gap_between_stages() -> None:
    epochs = [
        {"epoch": 1, "train_loss": 2.0, "valid_loss": 2.5, "stage": 1, "phase": "fit"},
        {"epoch": 2, "train_loss": 1.0, "valid_loss": 1.5, "stage": 1, "phase": "fit"},
        {"epoch": 1, "train_loss": 1.2, "stage": 2, "phase": "refit"},
    ]
    steps, lines = loss_lines(epochs)
    assert steps == ["1", "2", "", "refit 1"]
    assert lines == {"train loss": [2.0, 1.0, None, 1.2], "valid loss": [2.5, 1.5, None, None]}
    assert loss_lines([]) == ([], {})


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("lstm, gru", ["lstm", "gru"]),
        ("1, 2.5, true, null", [1, 2.5, True, None]),
        ("0.001 .. 0.01", {"min": 0.001, "max": 0.01}),
        ("1e-4..1e-2 log", {"min": 1e-4, "max": 1e-2, "log": True}),
        ("", []),
    ],
)
def test_values_of_a_search(text: str, search: object) -> None:
    assert read_search(text) == search


def test_names_of_models() -> None:
    assert model_name("Sales 2026 (final).csv") == "sales-2026-final"
    assert model_name("销售.csv") == "model"


def test_samples_of_prometheus_text() -> None:
    text = '# HELP x y\nx_total{model="a\\"b",version="1"} 3.0\nup 1\nbroken\n'
    assert read_samples(text) == [("x_total", {"model": 'a\\"b', "version": "1"}, 3.0), ("up", {}, 1.0)]


def test_events_in_words() -> None:
    data = {"worker": "", "epoch": 2, "train_loss": 0.5, "valid_loss": None, "note": "a <b>"}
    assert describe_event(data) == "epoch 2, train loss 0.5, note a <b>"
    saved = {"step": 72, "phase": "refit", "stage": 2, "bytes": 318_444}
    assert describe_event(saved) == "step 72, in the phase refit, 311.0 KiB"
    assert describe_event({"status": "succeeded", "model_version": 1}) == "succeeded, model version 1"
    assert describe_event({"message": ATTACK}) == ATTACK


def test_an_example_that_is_a_part_says_so() -> None:
    row = {"values": [1.0, 2.0], "timestamps": ["2020-01-01", "2020-01-02"], "length": 3, "truncated": True}
    assert "The first 2 of 3 steps are filled in, up to 2020-01-02" in shortened(row)
    assert "Only the beginning" in shortened({"text": "a", "truncated": True})
    assert shortened(row | {"truncated": False}) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59, "59 s"), (59.7, "1 min 0 s"), (4_359, "1 h 12 min"), (90_000, "1 d 1 h")],
)
def test_durations_are_in_two_units(seconds: float, shown: str) -> None:
    assert markup.duration(seconds) == shown


def test_lines_of_a_result_have_titles() -> None:
    assert example_title({"index": 0, "prediction": {"label": "good", "scores": {}}}) == "Example 1: good"
    assert example_title({"index": 1, "item_id": "a", "prediction": {"median": []}}) == "Example 2: a"
    assert example_title({"index": 2, "prediction": {"tokens": ["Ann", "saw"]}}) == "Example 3: Ann saw"
    assert example_title({"index": 3, "prediction": {"text": "x" * 99}}).endswith("x…")
    assert example_title({"index": 4, "error": {"detail": "no"}}) == "Example 5: has an error"
    assert example_title({"index": 5, "prediction": {"notes": []}}) == "Example 6"
