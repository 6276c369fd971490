"""Codings: what is written as events is read back as the same notes, in every key."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.media.limits import MediaLimits
from app.media.midi import decode_midi
from app.tasks.contract import UNKNOWN
from app.tasks.music.codings.chords import STEP, ChordCoding
from app.tasks.music.codings.performance import FIRST_ON, PerformanceCoding
from app.tasks.music.codings.pieces import Coding, Note, Piece, on_grid, roll_of
from app.tasks.music.codings.selection import coding_from_json, coding_to_json, find_grid, fit_coding
from app.tasks.music.codings.voices import VoiceCoding
from app.tasks.music.midi_file import write_notes, write_piece
from app.tasks.music.reading import piece_of
from tests.support.factories import music

QUARTER = 480


def piece(*rows: tuple[int, ...], tracks: int = 1, division: int = QUARTER, end: int = 0) -> Piece:
    """A piece of notes of start, end, key, velocity and track, at 120 quarter notes a minute."""
    notes = np.array(sorted(rows, key=lambda row: (row[0], row[2])), np.int64).reshape(-1, 5)
    return Piece(notes, division, end, np.zeros((0, 2), np.int64), np.zeros(tracks, np.int64))


def read_back(coding: Coding, tokens: Any) -> list[Note]:
    reader = coding.reader()
    notes = [note for token in tokens.tolist() for note in reader.push(token)] + reader.close()
    assert reader.invalid == 0
    return sorted(notes)


def in_steps(one: Piece, steps_per_quarter: float, velocity: int, *, tracks: bool) -> list[Note]:
    steps = on_grid(one, steps_per_quarter)
    rows = zip(steps.tolist(), one.notes.tolist(), strict=True)
    return sorted(Note(start, end, row[2], velocity, row[4] * tracks) for (start, end), row in rows)


@st.composite
def melodies(draw: st.DrawFn, *, drums: bool = False) -> list[tuple[int, int, int]]:
    """One voice on a grid: start, end and key of notes that do not overlap."""
    now, notes = 0, []
    keys = st.integers(40, 90) | st.integers(128 + 35, 128 + 50) if drums else st.integers(40, 90)
    for rest, length, key in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), keys), min_size=1)
    ):
        notes.append((now + rest, now + rest + length, key))
        now += rest + length
    return notes


@given(st.lists(melodies(), min_size=2, max_size=4))
@settings(max_examples=40, deadline=None)
def test_voices_are_read_back_note_by_note(voices: list[list[tuple[int, int, int]]]) -> None:
    rows = [
        (start * QUARTER // 4, end * QUARTER // 4, key, 70, voice)
        for voice, notes in enumerate(voices)
        for start, end, key in notes
    ]
    one = piece(*rows, tracks=len(voices))
    coding = VoiceCoding.fit([one], 4, 500_000, 70, [0] * len(voices))
    tokens = coding.encode(one)
    assert len(tokens) == len(voices) * coding.count_steps(one)
    assert read_back(coding, tokens) == in_steps(one, 4, 70, tracks=True)


@given(melodies(drums=True), melodies())
@settings(max_examples=40, deadline=None)
def test_chords_are_read_back_as_the_same_roll(
    one: list[tuple[int, int, int]], other: list[tuple[int, int, int]]
) -> None:
    rows = [(240 * start, 240 * end, key, 80, 0) for start, end, key in (*one, *other)]
    made = piece(*rows)
    coding = ChordCoding.fit([made], 2, 500_000, 80, 0)
    notes = np.array([list(note) for note in read_back(coding, coding.encode(made))], np.int64)
    expected = roll_of(on_grid(made, 2), made.notes[:, 2])
    found = roll_of(notes[:, :2], notes[:, 2])
    for name in ("steps", "keys", "struck"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_the_events_of_chords_by_hand() -> None:
    made = piece((0, 960, 60, 80, 0), (480, 960, 67, 80, 0), (960, 1440, 60, 80, 0), end=1920)
    coding = ChordCoding.fit([made], 1, 500_000, 80, 0)
    low, again = coding.lowest, len(coding.keys)
    c, g = STEP + 1 + 60 - low, STEP + 1 + 67 - low
    assert coding.encode(made).tolist() == [c, STEP, g, c, STEP, c + again, STEP, STEP]
    silent = piece((0, 480, 20, 80, 0), end=480)
    assert coding.encode(silent).tolist() == [UNKNOWN, STEP]


def test_a_performance_is_read_back_to_the_hundredth_of_a_second() -> None:
    made = piece_of(decode_midi(music.performance(3), MediaLimits()))
    coding = fit_coding([made], None, None)
    assert isinstance(coding, PerformanceCoding)
    notes = read_back(coding, coding.encode(made))
    seconds = made.seconds(made.notes[:, :2].reshape(-1)).reshape(-1, 2)
    expected = sorted(zip(np.rint(seconds[:, 0] * 100).tolist(), made.notes[:, 2].tolist(), strict=True))
    assert sorted((note.start, note.key) for note in notes) == expected
    assert all(abs(note.velocity - made.notes[0, 3]) <= 2 for note in notes)


def test_a_slower_performance_takes_longer_but_has_the_same_notes() -> None:
    made = piece_of(decode_midi(music.performance(1), MediaLimits()))
    coding = PerformanceCoding.fit([made], 0)
    quick, slow = (read_back(coding, coding.encode_stretched(made, factor)) for factor in (1.0, 1.5))
    assert [note.key for note in quick] == [note.key for note in slow]
    assert slow[-1].start == pytest.approx(1.5 * quick[-1].start, abs=2)


def test_unisons_of_a_performance_are_one_note() -> None:
    made = piece((0, 480, 60, 80, 0), (0, 960, 60, 80, 1), (480, 960, 60, 80, 0), tracks=2)
    coding = PerformanceCoding.fit([made], 0)
    assert [(note.start, note.end) for note in read_back(coding, coding.encode(made))] == [(0, 50), (50, 100)]


@pytest.mark.parametrize("name", ["voices", "chords", "performance"])
def test_transposing_events_is_transposing_notes(name: str) -> None:
    made = piece_of(decode_midi(music.chorale(5), MediaLimits()))
    coding = fit_coding([made], name, None)
    assert coding_from_json(coding_to_json(coding)) == coding
    tokens = coding.encode(made)
    for shift in (-6, 1, 5):
        moved = read_back(coding, coding.transposed(shift)[tokens])
        original = read_back(coding, tokens)
        assert [note._replace(key=note.key - shift) for note in moved] == original


def test_the_coding_is_chosen_by_the_data() -> None:
    chorales = [piece_of(decode_midi(music.chorale(seed), MediaLimits())) for seed in range(3)]
    voices = fit_coding(chorales, None, None)
    assert isinstance(voices, VoiceCoding)
    assert (voices.steps_per_quarter, len(voices.ranges), voices.repeats) == (1, 4, False)
    poly = piece((0, 480, 60, 80, 0), (0, 480, 64, 80, 0), (160, 480, 67, 80, 0))
    assert find_grid([poly]) == 3
    assert isinstance(fit_coding([poly], None, None), ChordCoding)
    assert isinstance(fit_coding([*chorales, poly], None, None), ChordCoding)
    assert fit_coding(chorales, "chords", 4).steps_per_quarter == 4


def test_a_piece_without_voices_lends_its_highest_notes() -> None:
    voices = VoiceCoding(1, 500_000, 80, [[40, 80], [40, 80]], False, [0, 0])
    chord = piece((0, 480, 48, 80, 0), (0, 480, 60, 80, 0), (0, 480, 64, 80, 0), end=960)
    notes = read_back(voices, voices.encode(chord))
    assert [(note.key, note.track) for note in notes] == [(60, 1), (64, 0)]


def test_events_that_make_no_sense_are_passed_over_and_counted() -> None:
    coding = VoiceCoding(1, 500_000, 80, [[60, 61], [48, 49]], False, [0, 0])
    reader = coding.reader()
    bass = coding.starts[1] + 1
    assert [reader.push(token) for token in (bass, coding.starts[0] + 1, bass, 9999)] == [[], [], [], []]
    assert (reader.invalid, reader.step) == (2, 1)
    assert len(reader.close()) == 2
    played = PerformanceCoding([60, 61], [0]).reader()
    played.push(FIRST_ON + 2)  # C ends, which has not begun
    assert played.invalid == 1
    chords = ChordCoding(1, 500_000, 80, [60, 61, 62], False, [0]).reader()
    for token in (STEP + 1, STEP + 2, STEP):  # a chord that rises
        chords.push(token)
    assert (chords.invalid, len(chords.close())) == (1, 2)


def test_folding_moves_pitches_by_octaves_and_leaves_drums() -> None:
    made = piece((0, 1, 20, 80, 0), (0, 1, 60, 80, 0), (0, 1, 101, 80, 0), (0, 1, 128 + 36, 80, 0))
    assert made.folded(48, 72).notes[:, 2].tolist() == [56, 60, 65, 164]


@given(melodies(drums=True))
@settings(max_examples=20, deadline=None)
def test_what_is_written_as_midi_is_read_as_it_was(notes: list[tuple[int, int, int]]) -> None:
    made = piece(*((120 * start, 120 * end, key, 64, 0) for start, end, key in notes), end=12_345)
    again = piece_of(decode_midi(write_piece(made), MediaLimits()))
    assert sorted(row[:4] for row in again.notes.tolist()) == sorted(row[:4] for row in made.notes.tolist())
    assert again.end == max(12_345, int(made.notes[:, 1].max()))


def test_seconds_follow_the_tempo() -> None:
    made = Piece(np.zeros((0, 5), np.int64), 480, 0, np.array([[480, 1_000_000]]), np.zeros(1, np.int64))
    assert made.seconds(np.array([0, 480, 960])).tolist() == [0.0, 0.5, 1.5]


def test_composed_notes_last_as_long_in_the_file_as_they_say() -> None:
    codings: list[Coding] = [
        VoiceCoding(4, 600_000, 80, [[60, 70]], False, [40]),
        PerformanceCoding([60], [40]),
    ]
    for coding in codings:
        again = piece_of(decode_midi(write_notes(coding, [Note(4, 8, 60, 77, 0)]), MediaLimits()))
        seconds = again.seconds(again.notes[:, :2].reshape(-1))
        step = coding.tempo / 1e6 / coding.steps_per_quarter
        assert seconds.tolist() == pytest.approx([4 * step, 8 * step])
        assert (again.notes[0, 3], again.programs.tolist()) == (77, [40])


def test_the_end_of_a_piece_begins_on_a_beat() -> None:
    rows = ((0, 480, 60, 80, 0), (960, 2000, 62, 80, 0), (2400, 2880, 64, 80, 0))
    made = piece(*rows, end=2880)
    tempos = np.array([[0, 400_000], [480, 500_000], [2000, 600_000]])
    late = Piece(made.notes, 480, 2880, tempos, made.programs).last(3)
    assert late.notes[:, :3].tolist() == [[0, 560, 62], [960, 1440, 64]]
    assert (late.end, late.tempos.tolist()) == (1440, [[0, 500_000], [560, 600_000]])
    assert made.last(6) is made


def test_a_roll_of_notes_without_end_takes_no_more_than_its_keys() -> None:
    count = 50_000
    steps = np.stack([np.arange(count), np.full(count, count + 1)], axis=1)  # each sounds to the very end
    roll = roll_of(steps, np.full(count, 60))
    assert len(roll.steps) == count + 1
    assert roll.struck.sum() == count - 1
