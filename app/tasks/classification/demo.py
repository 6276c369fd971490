"""The demo of classification: sentences of film reviews."""

from app.tasks.demonstration import Chart, Demo, Question, StyledText
from app.tasks.shared.demo_questions import ask_test_rows
from app.typedefs import Json


def render(question: Question, prediction: Json) -> list[StyledText | Chart]:
    """`pos 0.93  the text`, and the label by people where it is another."""
    label, expected = prediction["label"], question.example["label"]
    score = f"{label} {prediction['scores'][label]:.2f}"
    is_right = label == expected
    return [
        StyledText(f"  {score:<9}", "right" if is_right else "wrong"),
        StyledText(question.example["text"]),
        StyledText("" if is_right else f"  (people say {expected})", "aside"),
    ]


DEMO = Demo(
    sample="movie_snippets.jsonl",
    contents="sentences of film reviews, praise or not",
    baseline="naive Bayes",
    metrics={"accuracy": True},
    jobs={"demo-classification": {"network": {}, "training": {"epochs": 6, "seed": 7}, "options": {}}},
    questions=ask_test_rows(lambda row: {"text": row["text"]}),
    render=render,
    must_win=False,
)
