"""Events become notes as they are composed: a line of JSON for each note once it has ended."""

from collections.abc import Iterable, Sequence

import orjson

from app.tasks.contract import END
from app.tasks.music.codings.pieces import MELODIC_KEYS, Coding, Note
from app.tasks.music.inference import step_seconds
from app.typedefs import Json

TIME_DIGITS = 4  # of seconds


class NoteDetokenizer:
    """The notes of a growing list of events, up to `END` or a number of time steps."""

    def __init__(self, coding: Coding, max_steps: int) -> None:
        self.tokens = 0  # events so far, `END` not counted
        self.ended = False
        self.notes: list[Note] = []  # those that have ended
        self._max_steps, self._step_seconds = max_steps, step_seconds(coding)
        self._reader = coding.reader()

    @property
    def invalid(self) -> int:
        """How many events had no meaning where they stood."""
        return self._reader.invalid

    def push(self, tokens: Iterable[int]) -> str:
        """A line for each note that ends with some more events."""
        return "".join(self._push(int(token)) for token in tokens)

    def close(self) -> str:
        """A line for each note that was still sounding."""
        return self._lines(self._reader.close())

    def _push(self, token: int) -> str:
        if self.ended:
            return ""
        if token == END:
            self.ended = True
            return ""
        self.tokens += 1
        ended = self._reader.push(token)
        self.ended = self._reader.step >= self._max_steps
        return self._lines(ended)

    def _lines(self, notes: Sequence[Note]) -> str:
        heard = [
            note._replace(end=min(note.end, self._max_steps))
            for note in notes
            if note.start < self._max_steps and note.end > note.start
        ]
        self.notes += heard
        return "".join(orjson.dumps(self.describe(note)).decode() + "\n" for note in heard)

    def describe(self, note: Note) -> Json:
        """A note with its times in seconds."""
        start, end = (round(step * self._step_seconds, TIME_DIGITS) for step in (note.start, note.end))
        return {"pitch": note.key % MELODIC_KEYS, "start": start, "end": end, "velocity": note.velocity}
