"""A predicted label is shown with its probability, and with the label by people where it differs."""

from app.tasks.classification.demo import render
from app.tasks.demonstration import Question, StyledText

QUESTION = Question({"text": "a joy"}, {"text": "a joy", "label": "pos"}, {})


def parts(label: str) -> list[StyledText]:
    rendered = render(QUESTION, {"label": label, "scores": {"pos": 0.934, "neg": 0.066}})
    return [part for part in rendered if isinstance(part, StyledText)]


def test_a_label_with_its_probability() -> None:
    right, wrong = parts("pos"), parts("neg")
    assert "".join(part.text for part in right) == "  pos 0.93 a joy"
    assert "".join(part.text for part in wrong).endswith("a joy  (people say pos)")
    assert [right[0].style, wrong[0].style] == ["right", "wrong"]
