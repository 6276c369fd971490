"""Predictions are shown beside what people said."""

from app.cli.demo.readable import entities, label, marked, translation


def test_a_label_with_its_probability_and_what_people_said() -> None:
    row = {"text": "a joy", "label": "pos"}
    right = label(row, {"label": "pos", "scores": {"pos": 0.934, "neg": 0.066}})
    assert right.plain == "  pos 0.93 a joy"
    wrong = label(row, {"label": "neg", "scores": {"pos": 0.4, "neg": 0.6}})
    assert wrong.plain.endswith("a joy  (people say pos)")
    assert {str(span.style) for span in right.spans} != {str(span.style) for span in wrong.spans}


def test_entities_are_marked_where_they_begin_and_end() -> None:
    tokens = ["In", "New", "York", "Ann", "Bo", "!"]
    tags = ["O", "B-place", "I-place", "B-person", "B-person", "O"]
    assert marked(tokens, tags).plain == "In [New York place] [Ann person] [Bo person] !"
    assert marked(["Ann", "York"], ["I-person", "I-place"]).plain == "[Ann person] [York place]"


def test_other_marks_of_people_are_shown_below() -> None:
    row = {"tokens": ["Ann", "sings"], "tags": ["B-person", "O"]}
    agreed = entities(row, {"tokens": row["tokens"], "tags": row["tags"]})
    assert agreed.plain == "  [Ann person] sings"
    missed = entities(row, {"tokens": row["tokens"], "tags": ["O", "O"]})
    assert missed.plain == "  Ann sings\n    people: [Ann person] sings"


def test_a_translation_stands_between_source_and_reference() -> None:
    shown = translation({"source": "Good day", "target": "Buenos días"}, {"text": "Buen día", "score": -1.0})
    assert [line.split(maxsplit=1) for line in shown.plain.splitlines()] == [
        ["source", "Good day"],
        ["network", "Buen día"],
        ["people", "Buenos días"],
    ]
