"""Entities are shown in their sentence, beside those that people marked."""

from app.tasks.demonstration import Question, StyledText
from app.tasks.tagging.demo import has_several_entity_types, mark_entities, render


def plain(tokens: list[str], tags: list[str]) -> str:
    return "".join(part.text for part in mark_entities(tokens, tags))


def test_entities_are_marked_where_they_begin_and_end() -> None:
    tokens = ["In", "New", "York", "Ann", "Bo", "!"]
    tags = ["O", "B-place", "I-place", "B-person", "B-person", "O"]
    assert plain(tokens, tags) == "In [New York place] [Ann person] [Bo person] !"
    assert plain(["Ann", "York"], ["I-person", "I-place"]) == "[Ann person] [York place]"


def test_other_marks_of_people_are_shown_below() -> None:
    example = {"tokens": ["Ann", "sings"], "tags": ["B-person", "O"]}
    question = Question({"tokens": example["tokens"]}, example, {})

    def shown(tags: list[str]) -> str:
        parts = render(question, {"tokens": example["tokens"], "tags": tags})
        return "".join(part.text for part in parts if isinstance(part, StyledText))

    assert shown(["B-person", "O"]) == "  [Ann person] sings"
    assert shown(["O", "O"]) == "  Ann sings\n    people: [Ann person] sings"


def test_sentences_with_several_types_are_chosen() -> None:
    assert has_several_entity_types({"tags": ["B-person", "O", "B-place"]})
    assert not has_several_entity_types({"tags": ["B-person", "I-person", "B-person"]})
