"""MIDI files: ordinary ones are read as they were written, broken and hostile ones are refused in time."""

import struct
import time
from typing import Any

import pytest

from app.media.errors import MediaError
from app.media.limits import MediaLimits
from app.media.midi import decode_midi
from app.media.midi_chunks import count_events
from tests.support.factories import music

TRACK_END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"  # middle C for 96 ticks


def chunk(events: bytes, kind: bytes = b"MTrk") -> bytes:
    return kind + struct.pack(">I", len(events)) + events


def file(*tracks: bytes, form: int = 1, division: int = 480, declared: int | None = None) -> bytes:
    count = len(tracks) if declared is None else declared
    return b"MThd" + struct.pack(">IHHH", 6, form, count, division) + b"".join(map(chunk, tracks))


def decoded(content: bytes, **limits: Any) -> dict[str, Any]:
    return decode_midi(content, MediaLimits(**limits))


def notes_of(content: bytes) -> list[list[int]]:
    notes: list[list[int]] = decoded(content)["notes"].tolist()
    return notes


def test_what_another_library_wrote_is_read_as_it_was_written() -> None:
    upper, lower = [(0, 480, 72), (480, 960, 74)], [(0, 960, 48)]
    found = decoded(music.midi([upper, lower], velocity=90, tempo=600_000, end=1200))
    assert found["notes"].tolist() == [[0, 960, 48, 90, 1], [0, 480, 72, 90, 0], [480, 960, 74, 90, 0]]
    assert (found["division"], found["end"]) == (480, 1200)
    assert found["tempos"].tolist() == [[0, 600_000]]
    assert [track["program"] for track in found["tracks"]] == [0, 0]
    assert found["warnings"] == []


def test_odd_but_valid_files_are_read() -> None:
    running = b"\x00\x90\x3c\x40\x10\x3c\x00\x00\x3e\x40\x10\x3e\x00" + TRACK_END
    assert notes_of(file(running, form=0)) == [[0, 16, 60, 64, 0], [16, 32, 62, 64, 0]]
    two_channels = b"\x00\x90\x3c\x40\x00\x91\x30\x40\x10\x80\x3c\x00\x00\x81\x30\x00" + TRACK_END
    assert notes_of(file(two_channels, form=0)) == [[0, 16, 48, 64, 1], [0, 16, 60, 64, 0]]
    drums = b"\x00\x99\x24\x40\x10\x89\x24\x40" + TRACK_END
    assert notes_of(file(drums)) == [[0, 16, 128 + 36, 64, 0]]
    off_first = b"\x00\x80\x3e\x40" + NOTE + TRACK_END
    assert notes_of(file(off_first)) == [[0, 96, 60, 64, 0]]
    zero_length = b"\x00\x90\x3c\x40\x00\x80\x3c\x40" + TRACK_END
    assert notes_of(file(zero_length)) == [[0, 0, 60, 64, 0]]
    many = b"".join(bytes((0, 0x90, pitch, 64)) for pitch in range(128)) + TRACK_END
    assert len(notes_of(file(many))) == 128
    foreign = file(NOTE + TRACK_END) + chunk(b"anything", b"XFIH")
    assert notes_of(foreign) == [[0, 96, 60, 64, 0]]


@pytest.mark.parametrize(
    "event",
    [
        b"\xff\x03\x05Caf\xe9!", b"\xff\x05\x05Caf\xe9!", b"\xff\x58\x04\x00\x20\x00\x00",
        b"\xff\x58\x01\x04", b"\xff\x59\x02\x7f\x09", b"\xe0\x00\x40", b"\xb0\x40\x7f", b"\xa0\x3c\x10",
        b"\xd0\x10", b"\xf0\x05\x7e\x7f\x09\x01\xf7", b"\xf7\x02\x01\x02",
    ],
)  # fmt: skip
def test_events_that_are_no_notes_change_nothing(event: bytes) -> None:
    assert notes_of(file(b"\x10" + event + NOTE + TRACK_END)) == [[16, 112, 60, 64, 0]]


def test_long_rests_are_kept() -> None:
    rest = b"\xff\xff\xff\x7f\xb0\x40\x00" * 2  # 2 * (2^28 - 1) ticks, without a note
    assert notes_of(file(rest + NOTE + TRACK_END, division=32_767))[0][0] == 2 * (2**28 - 1)


def test_notes_that_were_left_on_end_with_their_track() -> None:
    events = b"\x00\x90\x3c\x40\x10\x90\x40\x40\x10\x80\x40\x00\x83\x00\xff\x2f\x00"
    assert notes_of(file(events)) == [[0, 416, 60, 64, 0], [16, 32, 64, 64, 0]]


def test_what_is_whole_of_a_file_that_breaks_off_is_read_with_a_warning() -> None:
    for events in (
        NOTE,
        NOTE + b"\x10",
        NOTE + b"\x10\x90\x3c",
        NOTE + b"\x10\xf0\x20\x00",
        NOTE + b"\x00\xff\x51",
    ):
        found = decoded(file(events))
        assert found["notes"].tolist() == [[0, 96, 60, 64, 0]]
        assert found["warnings"] == ["breaks off in track 1"]
    long = b"MThd" + struct.pack(">IHHH", 6, 1, 1, 480) + b"MTrk\xff\xff\xff\xff" + NOTE + TRACK_END
    assert decoded(long)["warnings"] == ["breaks off in track 1"]
    assert decoded(file(NOTE + TRACK_END, declared=9))["warnings"] == [
        "has 1 tracks, though its header says 9"
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not MIDI: it is empty"),
        (b"no music", "is not MIDI: it is text"),
        (b"\x89PNG\r\n\x1a\n", "is not MIDI: it is a PNG image"),
        (b"RIFF....WAVE", "it is a file in WAV format"),
        (b"RIFF....RMIDdata", "it is a MIDI file within RIFF"),
        (b"<!doctype html>", "it is an HTML page"),
        (b"MThd\x00\x00", "cut off in its header"),
        (b"MThd\xff\xff\xff\xff" + b"\x00" * 20, "a header of 4,294,967,295 bytes"),
        (file(TRACK_END, division=0), "into 0 ticks"),
        (file(TRACK_END, division=0xE728), "SMPTE"),
        (file(TRACK_END, division=0x8000), "SMPTE"),
        (file(TRACK_END, form=7), "the format 7"),
        (file(TRACK_END, form=2), "the format 2"),
        (file(), "has no tracks"),
        (file(TRACK_END), "has no notes"),
        (file(*[b""] * 2000), "more than 1,024 tracks"),
        (file(b"\xff\xff\xff\xff\x7f" + NOTE), "a delta time of more than four bytes"),
        (file(b"\xff\xff\xff\x7f\x90\x3c\x40" + TRACK_END), "more than 20,000 quarter notes"),
        (file(b"\x00\xff\x51\x03\x00\x00\x00" + NOTE + TRACK_END), "a tempo of no time"),
        (file(b"\x00\xff\x51\x01\x04" + NOTE + TRACK_END), "a tempo of 1 bytes"),
        (file(b"\x00\x3c\x40" + TRACK_END), "damaged: track 1 has no event at byte 1"),
        (file(b"\x00\x90\x3c\x90" + TRACK_END), "damaged: track 1 has a broken event at byte 2"),
        (file(b"\x00\xf4" + TRACK_END), "damaged"),
        (file(b"\x00\xf0\xbf\xff\xff\x7f\x01"), "has no notes"),
    ],
)
def test_what_is_no_music_is_refused_and_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(MediaError, match=reason):
        decoded(content)


def test_events_are_counted_before_anything_is_made_of_them() -> None:
    flood = file(b"\x00\x90\x3c\x40" + b"\x00\x3c\x40" * 3_000_000)
    begun = time.process_time()
    with pytest.raises(MediaError, match="more than 50,000 events"):
        decoded(flood, midi_events=50_000)
    assert time.process_time() - begun < 2
    two = file(NOTE * 30 + TRACK_END, NOTE * 30 + TRACK_END)
    with pytest.raises(MediaError, match="more than 100 events"):
        decoded(two, midi_events=100)
    assert len(decoded(two, midi_events=122)["notes"]) == 60


@pytest.mark.parametrize(
    "event",
    [
        b"\x00\x3c\x40",  # with the status of the one before it
        b"\x81\x00\x91\x3c\x40",
        b"\x00\xc0\x01",
        b"\x00\xff\x01\x02ab",
        b"\x00\xf0\x03\x01\x02\xf7",
        b"\x00\xff\x01\x00\x00\x90\x3c\x40",
    ],
)
def test_a_million_events_of_any_kind_are_counted_in_a_moment(event: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(MediaError, match="more than 1,000,000 events"):
        decoded(file(b"\x00\x90\x3c\x40" + event * 1_200_000 + TRACK_END))
    assert time.process_time() - begun < 2
    assert count_events(b"\x00\x90\x3c\x40" + event * 10 + TRACK_END + event, 1_000) in {12, 22}


@pytest.mark.parametrize("end", range(40))
def test_counting_ends_with_the_data(end: int) -> None:
    data = (NOTE + b"\x00\xff\x01\x02ab" + b"\x00\xf0\x82\x00ab")[:end]
    assert count_events(data, 100) <= 4
