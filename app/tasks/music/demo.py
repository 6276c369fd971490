"""The demo of music: chorales by Bach, and what a network makes of a beginning."""

from app.tasks.contract import bytes_to_json
from app.tasks.demonstration import Chart, Curve, Demo, Question, StyledText
from app.tasks.music.codings.pieces import Note
from app.tasks.music.midi_file import TICKS_PER_QUARTER, write_midi
from app.tasks.source import Faults, Source
from app.typedefs import Json

OPENING = ((67, 62, 59, 43), (67, 64, 60, 48), (65, 62, 57, 50), (67, 62, 59, 43))  # four quarter notes
TEMPO = 600_000  # microseconds of a quarter note
SAMPLES_PER_SECOND = 4
COLORS = ("cyan", "green", "yellow", "magenta")
STEP = 1 / SAMPLES_PER_SECOND


def opening() -> bytes:
    """The beginning of a chorale in G major as a MIDI file."""
    notes = [
        Note(beat * TICKS_PER_QUARTER, (beat + 1) * TICKS_PER_QUARTER, pitch, 80, voice)
        for beat, chord in enumerate(OPENING)
        for voice, pitch in enumerate(chord)
    ]
    return write_midi(notes, TICKS_PER_QUARTER, [(0, TEMPO)], [0] * len(COLORS))


def questions(source: Source, faults: Faults) -> list[Question]:
    """One piece from nothing, and one that goes on from a beginning; the sample is not needed."""
    del source, faults
    begun = {"midi_base64": bytes_to_json(opening())}
    return [
        Question({}, {"title": "from nothing"}, {}),
        Question(begun, {"title": "after four chords in G major"}, begun),
    ]


def render(question: Question, prediction: Json) -> list[StyledText | Chart]:
    """The notes that were composed, as dots of their pitches, and what can be said of them."""
    notes, facts = prediction["notes"], prediction["statistics"]
    count = int(max((note["end"] for note in notes), default=0) * SAMPLES_PER_SECOND) + 1
    columns = [
        sorted((note["pitch"] for note in notes if note["start"] <= step * STEP < note["end"]), reverse=True)
        for step in range(count)
    ]
    curves = tuple(
        Curve([column[rank] if rank < len(column) else None for column in columns], 0, color, "•")
        for rank, color in enumerate(COLORS)
    )
    summary = (
        f"{facts['notes']} notes in {facts['key']}, {facts['notes_in_key'] or 0:.0%} of their time in key"
    )
    legend = f"the {len(COLORS)} highest pitches, {SAMPLES_PER_SECOND} steps a second"
    return [
        Chart(question.example["title"], curves, legend),
        StyledText(f"{question.example['title']}: {summary}\n", "aside"),
    ]


DEMO = Demo(
    sample="bach_chorales.zip",
    contents="chorales by Bach in four voices",
    baseline="a 5-gram model of events",
    metrics={"nats_per_step": False},
    jobs={
        "demo-music": {
            "network": {"hidden_size": 160},
            "training": {"epochs": 30, "batch_size": 8, "seed": 7},
            "options": {},
        }
    },
    questions=questions,
    render=render,
    parameters={"seconds": 20, "temperature": 0.8, "seed": 7},
)
