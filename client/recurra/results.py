"""What models answer, as plain objects; `data` is the prediction as the service sent it."""

import base64
from dataclasses import dataclass, field
from pathlib import Path

from recurra.errors import Json


@dataclass(frozen=True)
class Forecast:
    """The future of one series, an entry for each step ahead."""

    item_id: str | None
    mean: list[float]
    median: list[float]
    quantiles: dict[str, list[float]]  # by their names, such as "0.1"
    intervals: dict[str, Json]  # by their levels, such as "80": `{"lower": […], "upper": […]}`
    timestamps: list[str | int] | None
    data: Json = field(repr=False)


@dataclass(frozen=True)
class LabelPrediction:
    """A label, with the probability of each that was asked for."""

    label: str
    scores: dict[str, float]
    data: Json = field(repr=False)


@dataclass(frozen=True)
class Entity:
    """A name in a text: the characters from `start` to `end`."""

    type: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class TaggedText:
    """A tag for each token, and the entities that the tags say, if they are such tags."""

    tokens: list[str]
    tags: list[str]
    entities: list[Entity]
    data: Json = field(repr=False)


@dataclass(frozen=True)
class GeneratedText:
    """The continuation of a prompt; `finish_reason` is stop or length."""

    text: str
    finish_reason: str
    tokens: int
    data: Json = field(repr=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Translation:
    """A text in the other language, with its mean log probability."""

    text: str
    score: float
    data: Json = field(repr=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Transcript:
    """What is said in a recording; `words` are `{"word", "start", "end"}`, in seconds."""

    text: str
    duration_seconds: float
    words: list[Json]
    data: Json = field(repr=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class MusicPiece:
    """A piece of music: a MIDI file, and its notes `{"pitch", "start", "end", "velocity"}`."""

    midi: bytes = field(repr=False)
    notes: list[Json] = field(repr=False)
    statistics: Json
    data: Json = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the MIDI file; returns its path."""
        target = Path(path)
        target.write_bytes(self.midi)
        return target


@dataclass(frozen=True)
class Piece:
    """A piece of a streamed answer; its text is what `print` shows."""

    text: str
    index: int
    finish_reason: str | None  # of the last piece
    data: Json = field(repr=False)

    def __str__(self) -> str:
        return self.text


def parse_forecast(data: Json) -> Forecast:
    """A prediction of forecasting."""
    return Forecast(
        data["item_id"],
        data["mean"],
        data["median"],
        data["quantiles"],
        data.get("intervals") or {},
        data.get("timestamps"),
        data,
    )


def parse_label(data: Json) -> LabelPrediction:
    """A prediction of classification or video."""
    return LabelPrediction(data["label"], data["scores"], data)


def parse_tags(data: Json) -> TaggedText:
    """A prediction of tagging."""
    entities = [Entity(one["type"], one["text"], one["start"], one["end"]) for one in data["entities"]]
    return TaggedText(data["tokens"], data["tags"], entities, data)


def parse_generated(data: Json) -> GeneratedText:
    """A prediction of generation."""
    return GeneratedText(data["text"], data["finish_reason"], data["tokens"], data)


def parse_translation(data: Json) -> Translation:
    """A prediction of translation."""
    return Translation(data["text"], data["score"], data)


def parse_transcript(data: Json) -> Transcript:
    """A prediction of speech."""
    return Transcript(data["text"], data["duration_seconds"], data.get("words") or [], data)


def parse_music(data: Json) -> MusicPiece:
    """A prediction of music."""
    midi = base64.b64decode(data["midi_base64"])
    return MusicPiece(midi, data["notes"], data.get("statistics") or {}, data)


def parse_piece(data: Json) -> Piece:
    """A piece of a stream."""
    return Piece(data.get("text", ""), data.get("index", 0), data.get("finish_reason"), data)
