"""The demo of video classification: people seen by a depth camera."""

from app.tasks.demonstration import Chart, Demo, Question, StyledText
from app.tasks.media_members import MediaMembers
from app.tasks.source import Faults, Source
from app.tasks.video.reading import LABEL, VIDEO
from app.typedefs import Json

MAX_CLIPS_SHOWN = 6


def ask_test_clips(source: Source, faults: Faults) -> list[Question]:
    """A few clips that are only for the test, from all over the archive."""
    rows = [row for _, row in source.manifest() if row["split"] == "test"]
    chosen = rows[:: max(1, len(rows) // MAX_CLIPS_SHOWN)][:MAX_CLIPS_SHOWN]
    instances = MediaMembers(source, faults, VIDEO).instances((row[VIDEO], None) for row in chosen)
    return [Question(instance, row, instance) for instance, row in zip(instances, chosen, strict=True)]


def render(question: Question, prediction: Json) -> list[StyledText | Chart]:
    """`wave 0.93  clips/a03_s2_t1.mp4`, and what the person does where it is another."""
    label, expected = prediction["label"], question.example[LABEL]
    is_right = label == expected
    return [
        StyledText(
            f"  {label} {prediction['scores'][label]:.2f}".ljust(22), "right" if is_right else "wrong"
        ),
        StyledText(question.example[VIDEO]),
        StyledText("" if is_right else f"  (it is {expected})", "aside"),
    ]


DEMO = Demo(
    sample="video_actions_depth.zip",
    contents="{examples} clips of people who move in {classes} ways, seen by a depth camera",
    baseline="frame average",
    metrics={"accuracy": True},
    jobs={"demo-video": {"network": {}, "training": {"epochs": 30, "seed": 7}, "options": {}}},
    questions=ask_test_clips,
    render=render,
    must_win=False,
)
