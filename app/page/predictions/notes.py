"""Music as a piano roll that can be played, and as a MIDI file."""

from collections.abc import Sequence

from markupsafe import Markup

from app.page import markup
from app.typedefs import Json

SECOND_WIDTH, PITCH_HEIGHT = 40, 6  # units of the drawing
MARGIN_PITCHES = 2
MAX_NOTES = 4_000  # that are drawn
KEYS = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
BLACK_KEYS = (1, 3, 6, 8, 10)  # of an octave


def show_roll(prediction: Json, instance: Json) -> None:
    """The roll of the notes, a button that plays them, the file, and what is known of them."""
    del instance
    notes = prediction["notes"][:MAX_NOTES]
    if notes:
        markup.show(piano_roll(notes))
    else:
        markup.show(Markup("<p class='note'>There are no notes.</p>"))
    if content := prediction.get("midi_base64"):
        markup.show(
            Markup(
                "<p><a download='piece.mid' href='data:audio/midi;base64,{}'>Save as a MIDI file</a></p>"
            ).format(content)
        )
    names = ("notes", "midi_base64", "warnings")
    rest = {name: value for name, value in markup.flatten(prediction).items() if name not in names}
    markup.show(markup.facts([("notes", len(prediction["notes"])), *rest.items()]))


def piano_roll(notes: Sequence[Json]) -> Markup:
    """Notes over time, the highest at the top."""
    pitches = [int(note["pitch"]) for note in notes]
    low, high = min(pitches) - MARGIN_PITCHES, max(pitches) + MARGIN_PITCHES
    seconds = max(float(note["end"]) for note in notes)
    width, height = round(seconds * SECOND_WIDTH) + 1, (high - low + 1) * PITCH_HEIGHT
    keys = Markup("").join(
        Markup("<rect class='black' x='0' y='{}' width='{}' height='{}'/>").format(
            (high - pitch) * PITCH_HEIGHT, width, PITCH_HEIGHT
        )
        for pitch in range(low, high + 1)
        if pitch % 12 in BLACK_KEYS
    )
    drawn = Markup("").join(_note(note, high) for note in notes)
    lowest, highest = key_name(min(pitches)), key_name(max(pitches))
    title = f"Piano roll: {len(notes)} notes in {seconds:.1f} s, from {lowest} to {highest}"
    return Markup(
        "<div class='roll'><button type='button' onclick='recurra.playMusic(this)'>Play</button>"
        "<div class='scroll' tabindex='0' role='region' aria-label='Piano roll'>"
        "<svg role='img' preserveAspectRatio='none' aria-label='{}' data-scale='{}' viewBox='0 0 {} {}' "
        "width='{}' height='{}'>"
        "{}{}<rect class='cursor' visibility='hidden' x='0' y='0' width='1.5' height='{}'/></svg></div></div>"
    ).format(title, SECOND_WIDTH, width, height, width, height * 2, keys, drawn, height)


def _note(note: Json, high: int) -> Markup:
    start, end, pitch = float(note["start"]), float(note["end"]), int(note["pitch"])
    return Markup(
        "<rect class='sound' data-pitch='{}' data-start='{}' data-end='{}' data-velocity='{}' "
        "x='{:.2f}' y='{}' width='{:.2f}' height='{}'><title>{}, {:.2f}–{:.2f} s</title></rect>"
    ).format(
        pitch, start, end, int(note["velocity"]), start * SECOND_WIDTH, (high - pitch) * PITCH_HEIGHT,
        max((end - start) * SECOND_WIDTH - 0.5, 0.5), PITCH_HEIGHT - 1, key_name(pitch), start, end,
    )  # fmt: skip


def key_name(pitch: int) -> str:
    """The name of a MIDI pitch; 60 is C4."""
    return f"{KEYS[pitch % 12]}{pitch // 12 - 1}"
