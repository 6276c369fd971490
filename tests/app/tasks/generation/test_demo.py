"""The demo of generation asks with prompts of its own; it needs no examples of the sample."""

from app.cli.demo.run import SAMPLES, read_questions
from app.tasks import TASKS
from app.tasks.generation.demo import PROMPTS


def test_the_questions_are_prompts() -> None:
    task = TASKS["generation"]
    questions = read_questions(task, SAMPLES / task.demo.sample)
    assert [question.instance["prompt"] for question in questions] == list(PROMPTS)
    assert [question.example["text"] for question in questions] == list(PROMPTS)
