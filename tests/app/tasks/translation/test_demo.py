"""A translation stands between its source and the translation by people."""

from app.tasks.demonstration import Question, StyledText
from app.tasks.translation.demo import render


def test_a_translation_stands_between_source_and_reference() -> None:
    question = Question({"text": "Good day"}, {"source": "Good day", "target": "Buenos días"}, {})
    parts = render(question, {"text": "Buen día", "score": -1.0})
    text = "".join(part.text for part in parts if isinstance(part, StyledText))
    assert [line.split(maxsplit=1) for line in text.splitlines()] == [
        ["source", "Good day"],
        ["network", "Buen día"],
        ["people", "Buenos días"],
    ]
