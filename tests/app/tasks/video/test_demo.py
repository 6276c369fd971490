"""Held-out clips of the sample are asked for, and shown with what they really are."""

import msgspec

from app.cli.demo.by_hand import commands
from app.cli.demo.run import SAMPLES, prediction_request, read_questions
from app.tasks.demonstration import Question, StyledText
from app.tasks.video import TASK
from app.tasks.video.demo import DEMO, render

QUESTION = Question({}, {"video": "a.mp4", "label": "wave"}, {})


def test_questions_are_about_test_clips_of_several_labels() -> None:
    questions = read_questions(TASK, SAMPLES / DEMO.sample)
    assert 4 <= len(questions) <= 8
    assert {question.example["split"] for question in questions} == {"test"}
    assert len({question.example["label"] for question in questions}) >= 4
    for question in questions:
        msgspec.convert(question.instance, TASK.instance)
    request = {"task": "video", "dataset": "ds_1", "model": "m"}
    prediction = prediction_request(DEMO, questions[0].brief)
    *_, last = commands("http://x", SAMPLES / DEMO.sample, request, prediction)
    assert last == f"  recurra predict m {SAMPLES / DEMO.sample} --url $URL"


def test_a_label_with_its_probability_and_the_right_one() -> None:
    rendered = [render(QUESTION, {"label": label, "scores": {label: 0.934}}) for label in ("wave", "clap")]
    right, wrong = ([part for part in parts if isinstance(part, StyledText)] for parts in rendered)
    assert "".join(part.text for part in right) == "  wave 0.93           a.mp4"
    assert "".join(part.text for part in wrong).endswith("a.mp4  (it is wave)")
    assert [right[0].style, wrong[0].style] == ["right", "wrong"]
