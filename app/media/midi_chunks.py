"""The chunks of a standard MIDI file, checked event by event, and the file that is safe to parse.

Format: "Standard MIDI Files 1.0", MIDI Manufacturers Association 1996.
"""

import struct
from collections import Counter
from dataclasses import dataclass, field

from app.media.errors import MediaError
from app.media.sniffing import describe_content

HEADER_BYTES = 14
MAX_TRACKS = 1024
MAX_QUARTERS = 20_000  # that a file may last: nearly three hours at 120 quarter notes a minute
MAX_DELTA_BYTES, MAX_DELTA = 4, (1 << 28) - 1
META, SYSEX_STATUSES = 0xFF, (0xF0, 0xF7)
TEXT, END_OF_TRACK, TEMPO, TEMPO_BYTES = 0x01, 0x2F, 0x51, 3
NOTE_OFF, NOTE_ON, PROGRAM_CHANGE, PRESSURE = 0x80, 0x90, 0xC0, 0xD0  # upper halves of status bytes
ONE_DATA_BYTE, WRITTEN = (PROGRAM_CHANGE, PRESSURE), (NOTE_OFF, NOTE_ON, PROGRAM_CHANGE)


@dataclass(frozen=True)
class CheckedMidi:
    """A file of notes, programs and tempos whose every track is whole.

    Notes that were left on are closed where their track ends.
    """

    content: bytes
    division: int  # ticks of a quarter note
    end: int  # tick at which the last track ends
    warnings: list[str] = field(default_factory=list)


def check_midi(content: bytes, max_events: int) -> CheckedMidi:
    """Check all chunks of a file of at most `max_events` events; raises `MediaError`.

    Tracks that are cut off keep what is there, with a warning.
    """
    division, declared = _read_header(content)
    chunks = _read_chunks(content)
    _check_events(chunks, max_events)
    tracks: list[bytes] = []
    warnings: list[str] = []
    end = 0
    for number, (data, size) in enumerate(chunks, 1):
        track = _TrackReader(data, number, division)
        tracks.append(track.read())
        end = max(end, track.time)
        if track.is_cut or len(data) < size:
            warnings.append(f"breaks off in track {number}")
    if len(tracks) < declared:
        warnings.append(f"has {len(tracks)} tracks, though its header says {declared:,}")
    header = struct.pack(">4sIHHH", b"MThd", 6, int(len(tracks) > 1), len(tracks), division)
    return CheckedMidi(header + b"".join(tracks), division, end, warnings)


def _read_header(content: bytes) -> tuple[int, int]:
    """The ticks of a quarter note, and the number of tracks that the header declares."""
    if content[:4] != b"MThd":
        raise MediaError(f"is not MIDI: it is {describe_content(content)}")
    if len(content) < HEADER_BYTES:
        raise MediaError("is cut off in its header")
    size, form, declared, division = struct.unpack_from(">IHHH", content, 4)
    if size < HEADER_BYTES - 8 or size > len(content) - 8:
        raise MediaError(f"has a header of {size:,} bytes, which cannot be")
    if form > 1:
        raise MediaError(f"has the format {form}; the formats 0 and 1 are read")
    if division & 0x8000:
        raise MediaError("counts time in frames of film (SMPTE); only quarter notes are read")
    if division == 0:
        raise MediaError("divides a quarter note into 0 ticks")
    return division, declared


def _read_chunks(content: bytes) -> list[tuple[bytes, int]]:
    """The data of each track, and how many bytes of it the file declares."""
    position = 8 + struct.unpack_from(">I", content, 4)[0]
    chunks: list[tuple[bytes, int]] = []
    while position + 8 <= len(content):
        kind, size = struct.unpack_from(">4sI", content, position)
        if kind == b"MTrk":
            if len(chunks) == MAX_TRACKS:
                raise MediaError(f"has more than {MAX_TRACKS:,} tracks")
            chunks.append((content[position + 8 : position + 8 + size], size))
        position += 8 + size
    if not chunks:
        raise MediaError("has no tracks")
    return chunks


def _check_events(chunks: list[tuple[bytes, int]], max_events: int) -> None:
    """Raise `MediaError` where the tracks have too many events, before anything is made of them."""
    events = 0
    for data, _ in chunks:
        events += count_events(data, max_events - events)
        if events > max_events:
            raise MediaError(f"has more than {max_events:,} events")


def count_events(data: bytes, enough: int) -> int:
    """The events of a track; counting ends beyond `enough`, and where the track ends or is damaged."""
    position = count = status = 0
    try:
        while count <= enough:
            while data[position] >= NOTE_OFF:  # the delta time
                position += 1
            position += 1
            byte = data[position]
            if byte >= NOTE_OFF:
                status = byte
                position += 1
            if NOTE_OFF <= status < SYSEX_STATUSES[0]:
                position += 1 if status & 0xF0 in ONE_DATA_BYTE else 2
            elif status == META or status in SYSEX_STATUSES:
                if status == META:
                    if data[position] == END_OF_TRACK:
                        return count + 1
                    position += 1
                position = _skip_counted(data, position)
                status = 0
            else:
                return count
            count += 1
    except IndexError:
        pass
    return count


def _skip_counted(data: bytes, position: int) -> int:
    """The position behind data that begin with their length."""
    size = 0
    while True:
        byte = data[position]
        position += 1
        size = size << 7 | byte & 0x7F
        if byte < NOTE_OFF:
            return position + size


class _CutOff(Exception):
    """The data end within an event."""


class _TrackReader:
    """Reads the events of one track, and writes those that matter to notes: a parser need not know others."""

    def __init__(self, data: bytes, number: int, division: int) -> None:
        self.time = 0  # ticks
        self.is_cut = False
        self._data, self._number = data, number
        self._max_ticks = MAX_QUARTERS * division
        self._position = self._status = 0
        self._written: list[bytes] = []
        self._written_time = 0  # tick of the last event that was written
        self._open: Counter[tuple[int, int]] = Counter()  # notes that are on, by channel and pitch

    def read(self) -> bytes:
        """The chunk of the track, whole and closed; raises `MediaError`."""
        time = 0  # tick of the last whole event
        try:
            while self._position < len(self._data):
                self.time += self._variable_length("delta time")
                if self.time > self._max_ticks:
                    raise MediaError(f"lasts more than {MAX_QUARTERS:,} quarter notes")
                if not self._read_event():
                    break
                time = self.time
            else:
                self.is_cut = True  # no end of track
        except _CutOff:
            self.is_cut, self.time = True, time
        return self._closed()

    def _closed(self) -> bytes:
        for (channel, pitch), count in self._open.items():
            for _ in range(count):
                self._write(bytes((NOTE_OFF | channel, pitch, 0)))
        self._write(bytes((META, END_OF_TRACK, 0)))
        events = b"".join(self._written)
        return b"MTrk" + struct.pack(">I", len(events)) + events

    def _write(self, event: bytes) -> None:
        """Write an event at the present tick, after empty ones where that is far."""
        delta, self._written_time = self.time - self._written_time, self.time
        while delta > MAX_DELTA:
            self._written.append(variable_length(MAX_DELTA) + bytes((META, TEXT, 0)))
            delta -= MAX_DELTA
        self._written.append(variable_length(delta) + event)

    def _read_event(self) -> bool:
        """Pass one event; false at the end of the track."""
        status = self._peek()
        if status >= NOTE_OFF:
            self._position += 1
        else:
            status = self._status
        if status == META:
            return self._read_meta()
        if status in SYSEX_STATUSES:
            self._skip(self._variable_length("length"))
            self._status = 0
        elif NOTE_OFF <= status < SYSEX_STATUSES[0]:
            self._read_channel_event(status)
        else:
            raise MediaError(f"is damaged: track {self._number} has no event at byte {self._position}")
        return True

    def _read_meta(self) -> bool:
        kind = self._peek()
        self._position += 1
        size = self._variable_length("length")
        data = self._skip(size)
        self._status = 0
        if kind == END_OF_TRACK:
            return False
        if kind == TEMPO:
            if not any(data):
                raise MediaError("has a tempo of no time at all for a quarter note")
            if size != TEMPO_BYTES:
                raise MediaError(f"has a tempo of {size} bytes; it takes {TEMPO_BYTES}")
            self._write(bytes((META, TEMPO, TEMPO_BYTES)) + data)
        return True

    def _read_channel_event(self, status: int) -> None:
        self._status = status
        start, kind = self._position, status & 0xF0
        data = self._skip(1 if kind in ONE_DATA_BYTE else 2)
        if max(data) >= NOTE_OFF:
            raise MediaError(f"is damaged: track {self._number} has a broken event at byte {start}")
        if kind in WRITTEN:
            self._write(bytes((status,)) + data)
        if kind not in (NOTE_OFF, NOTE_ON):
            return
        note = status & 0x0F, data[0]
        if kind == NOTE_ON and data[1]:
            self._open[note] += 1
        elif self._open[note]:
            self._open[note] -= 1

    def _peek(self) -> int:
        if self._position >= len(self._data):
            raise _CutOff
        return self._data[self._position]

    def _skip(self, size: int) -> bytes:
        """The next bytes, which are passed."""
        start, self._position = self._position, self._position + size
        if self._position > len(self._data):
            raise _CutOff
        return self._data[start : self._position]

    def _variable_length(self, what: str) -> int:
        value = 0
        for _ in range(MAX_DELTA_BYTES):
            byte = self._peek()
            self._position += 1
            value = value << 7 | byte & 0x7F
            if byte < NOTE_OFF:
                return value
        raise MediaError(f"is damaged: track {self._number} has a {what} of more than four bytes")


def variable_length(value: int) -> bytes:
    """A number from 0 to 2²⁸ - 1 in one to four bytes of seven bits, as the format writes it."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | value & 0x7F)
    return bytes(reversed(parts))
