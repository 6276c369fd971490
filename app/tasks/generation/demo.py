"""The demo of generation: comedies by Shakespeare."""

from app.tasks.demonstration import Demo, Question
from app.tasks.source import Faults, Source

PROMPTS = ("PROSPERO.\n", "O, she is ")


def questions(source: Source, faults: Faults) -> list[Question]:
    """Two prompts; the sample is not needed."""
    del source, faults
    return [Question({"prompt": prompt}, {"text": prompt}, {"prompt": prompt}) for prompt in PROMPTS]


DEMO = Demo(
    sample="shakespeare.jsonl",
    contents="three comedies, in pairs of bytes; the beginning of The Tempest is held out",
    baseline="a 5-gram model",
    metrics={"bits_per_character": False},
    jobs={
        "demo-generation": {
            "network": {"cell": "gru", "hidden_size": 192},
            "training": {"epochs": 4, "batch_size": 16, "learning_rate": 0.006, "seed": 7},
            "options": {},
        }
    },
    questions=questions,
    render=None,
    parameters={"max_tokens": 240, "temperature": 0.7, "seed": 7},
)
