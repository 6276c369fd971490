"""The demo of music: a piece from nothing and one from a beginning that any reader of MIDI understands."""

import base64

from app.cli.demo.run import SAMPLES, read_questions
from app.media.limits import MediaLimits
from app.media.midi import decode_midi
from app.tasks import TASKS
from app.tasks.demonstration import Chart, StyledText
from app.tasks.music.demo import OPENING, render


def test_the_questions_are_nothing_and_a_beginning() -> None:
    task = TASKS["music"]
    nothing, begun = read_questions(task, SAMPLES / task.demo.sample)
    assert nothing.instance == {}
    decoded = decode_midi(base64.b64decode(begun.instance["midi_base64"]), MediaLimits())
    assert len(decoded["notes"]) == sum(map(len, OPENING))
    assert len(decoded["tracks"]) == 4


def test_a_piece_is_dots_and_a_sentence() -> None:
    question = read_questions(TASKS["music"], SAMPLES / TASKS["music"].demo.sample)[0]
    notes = [
        {"pitch": 60, "start": 0.0, "end": 1.0, "velocity": 80},
        {"pitch": 67, "start": 0.5, "end": 1.0, "velocity": 80},
    ]
    chart, summary = render(
        question, {"notes": notes, "statistics": {"notes": 2, "key": "C major", "notes_in_key": 1.0}}
    )
    assert isinstance(chart, Chart)
    assert [list(curve.values) for curve in chart.curves][:2] == [
        [60, 60, 67, 67, None],
        [None, None, 60, 60, None],
    ]
    assert isinstance(summary, StyledText)
    assert "2 notes in C major, 100%" in summary.text
    empty = render(question, {"notes": [], "statistics": {"notes": 0, "key": None, "notes_in_key": None}})
    assert len(empty) == 2
