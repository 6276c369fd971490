"""The demo of speech recognition: short prompts of a telephone system in Russian."""

from app.tasks.demonstration import Chart, Demo, Question, StyledText
from app.tasks.media_members import MediaMembers
from app.tasks.shared.text_checks import TEXT
from app.tasks.source import Faults, Source
from app.tasks.speech.reading import AUDIO
from app.typedefs import Json

MAX_DEMO_CLIPS = 4


def questions(source: Source, faults: Faults) -> list[Question]:
    """A few of the test recordings; the shortest of them is the one to be sent by hand."""
    lines = [record for _, record in source.manifest() if record.get("split") == "test"]
    chosen = lines[:: max(1, len(lines) // MAX_DEMO_CLIPS)][:MAX_DEMO_CLIPS]
    instances = MediaMembers(source, faults, AUDIO).instances((line[AUDIO], None) for line in chosen)
    brief = min(instances, key=lambda instance: len(instance["audio_base64"]))
    return [Question(instance, line, brief) for instance, line in zip(instances, chosen, strict=True)]


def render(question: Question, prediction: Json) -> list[StyledText | Chart]:
    """The transcript, each word in a style that says whether people heard it, and what they heard."""
    expected = question.example[TEXT]
    about = f"  {question.example[AUDIO]}, {prediction['duration_seconds']:.1f} s: "
    parts = [StyledText(about, "aside")]
    for word in prediction["words"]:
        style = "right" if word["word"] in expected.split() else "wrong"
        parts.append(StyledText(f"{word['word']} ", style))  # type: ignore[arg-type]
    if prediction[TEXT] != expected:
        parts.append(StyledText(f" (people hear: {expected})", "aside"))
    return [*parts]


DEMO = Demo(
    sample="speech_russian_prompts.zip",
    contents="short prompts of a telephone system in Russian",
    baseline="the best constant answer",
    metrics={"cer": False},
    jobs={"demo-speech": {"network": {}, "training": {"epochs": 60, "seed": 7}, "options": {}}},
    questions=questions,
    render=render,
)
