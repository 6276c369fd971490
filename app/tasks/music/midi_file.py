"""Writes notes as a standard MIDI file of format 1."""

import struct
from collections.abc import Iterable, Sequence

from app.media.midi_chunks import (
    END_OF_TRACK,
    META,
    NOTE_OFF,
    NOTE_ON,
    PROGRAM_CHANGE,
    TEMPO,
    TEMPO_BYTES,
    variable_length,
)
from app.tasks.music.codings.pieces import MELODIC_KEYS, Coding, Note, Piece

TICKS_PER_QUARTER = 480
DRUM_CHANNEL, CHANNELS = 9, 16
MAX_TEMPO = (1 << 24) - 1  # microseconds of a quarter note


def write_notes(coding: Coding, notes: Iterable[Note]) -> bytes:
    """Notes in a coding's time steps as a file, one track for each of the coding's programs."""
    ticks = max(1, int(TICKS_PER_QUARTER // coding.steps_per_quarter))  # of a step
    division = round(ticks * coding.steps_per_quarter)
    timed = [note._replace(start=note.start * ticks, end=note.end * ticks) for note in notes]
    return write_midi(timed, division, [(0, coding.tempo)], coding.programs)


def write_piece(piece: Piece) -> bytes:
    """A piece as a file; what is read from it is the same piece."""
    notes = [Note(*row) for row in piece.notes.tolist()]
    return write_midi(notes, piece.division, piece.tempos.tolist(), piece.programs.tolist(), piece.end)


def write_midi(
    notes: Iterable[Note],
    division: int,
    tempos: Iterable[Sequence[int]],
    programs: Sequence[int],
    end: int = 0,
) -> bytes:
    """Notes in ticks as a file that lasts at least to the tick `end`.

    The first track has the tempos, pairs of a tick and the microseconds of a quarter note; one more follows
    for the melody and one for the drums of each track that has notes.
    """
    parts: dict[tuple[int, bool], list[Note]] = {}
    for note in notes:
        parts.setdefault((note.track, note.key >= MELODIC_KEYS), []).append(note)
    chunks = [_tempo_track(tempos, end)]
    melodic = [channel for channel in range(CHANNELS) if channel != DRUM_CHANNEL]
    for (track, drums), part in sorted(parts.items()):
        program = programs[track] if track < len(programs) else 0
        channel = DRUM_CHANNEL if drums else melodic[track % len(melodic)]
        chunks.append(_note_track(part, channel, program))
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(chunks), division)
    return header + b"".join(chunks)


def _tempo_track(tempos: Iterable[Sequence[int]], end: int) -> bytes:
    events = [
        (tick, bytes((META, TEMPO, TEMPO_BYTES)) + min(tempo, MAX_TEMPO).to_bytes(TEMPO_BYTES, "big"))
        for tick, tempo in tempos
    ]
    return _chunk(sorted(events), end)


def _note_track(notes: Iterable[Note], channel: int, program: int) -> bytes:
    """Notes end before others begin at the same tick; one without length ends behind its beginning."""
    events: list[tuple[int, int, int, bytes]] = []
    for note in notes:
        pitch, velocity = note.key % MELODIC_KEYS, min(max(note.velocity, 1), 127)
        events.append((note.start, 1, pitch, bytes((NOTE_ON | channel, pitch, velocity))))
        order = 0 if note.end > note.start else 2
        events.append((note.end, order, pitch, bytes((NOTE_OFF | channel, pitch, 0))))
    timed = [(tick, data) for tick, _, _, data in sorted(events)]
    return _chunk([(0, bytes((PROGRAM_CHANGE | channel, program))), *timed], 0)


def _chunk(events: Sequence[tuple[int, bytes]], end: int) -> bytes:
    """A track of events in order, that ends at the last of them or at `end`."""
    parts, now = [], 0
    for tick, event in events:
        parts.append(variable_length(tick - now) + event)
        now = tick
    data = b"".join(parts) + variable_length(max(end - now, 0)) + bytes((META, END_OF_TRACK, 0))
    return b"MTrk" + struct.pack(">I", len(data)) + data
