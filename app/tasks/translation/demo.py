"""The demo of translation: verses of the Bible, from English into Spanish."""

from app.tasks.demonstration import Chart, Demo, Question, StyledText
from app.tasks.shared.demo_questions import ask_test_rows
from app.typedefs import Json


def render(question: Question, prediction: Json) -> list[StyledText | Chart]:
    """The source, its translation by the network, and the translation by people."""
    example = question.example
    return [
        StyledText(f"  {'source':<9}{example['source']}\n"),
        StyledText(f"  {'network':<9}{prediction['text']}\n", "mark"),
        StyledText(f"  {'people':<9}{example['target']}\n"),
    ]


DEMO = Demo(
    sample="bible_en_es.jsonl",
    contents="short verses of the Bible in English and Spanish",
    baseline="a dictionary",
    metrics={"bleu": True},
    jobs={
        "demo-translation": {
            "network": {"hidden_size": 128, "embedding_size": 128},
            "training": {"epochs": 8, "learning_rate": 0.004, "seed": 7},
            "options": {"vocabulary_size": 2000},
        }
    },
    questions=ask_test_rows(lambda row: {"text": row["source"]}),
    render=render,
)
