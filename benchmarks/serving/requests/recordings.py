"""Models of speech and video, trained for minutes, and real recordings and clips to ask them about."""

import base64
import statistics
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from app.media.decoder import process_decoder
from app.typedefs import Json
from benchmarks.serving.requests.reader import Reader
from benchmarks.serving.requests.versions import Made, Row, ask, thinned
from tests.support.factories.default_jobs import train_with_defaults

HELD_OUT = 20  # clips of each split that training does not learn from
REQUESTS = 60  # different ones


@dataclass(frozen=True)
class Recorded:
    """Where the files of a task are named, and which of them are asked about."""

    member: str  # the manifest's field
    field: str  # the instance's
    longest: float  # seconds
    shortest: float


ROWS = (
    Row("speech", "speech", "digit_strings", 400, 12),
    Row("video", "video", "human_actions_depth", 200, 3),
)
KINDS: Mapping[str, Recorded] = {
    "speech": Recorded("audio", "audio_base64", 2.5, 1.5),
    "video": Recorded("video", "video_base64", 3.5, 2.5),
}


def describe(made: Made, kind: Recorded) -> str:
    """What is asked, in a sentence."""
    row = made.row
    sizes, frames = [len(body) / 1024 for body in made.corpus.bodies], statistics.median(made.corpus.steps)
    return (
        f"{row.name} ({row.data}, {made.parameters:,} parameters): {len(sizes)} files of "
        f"{kind.shortest:g} to {kind.longest:g} s, {frames:.0f} frames (median), "
        f"{statistics.mean(sizes):.0f} KiB a request"
    )


def seconds_of(task: str, content: bytes) -> float:
    """How long a recording or a clip is."""
    if task == "speech":
        decoded = process_decoder().decode("audio", content, {"sample_rate": 8000})
        return len(decoded["samples"]) / 8000
    decoded = process_decoder().decode("video", content, {"size": 8, "color": False, "frames": 1})
    return float(decoded["seconds"] or 0)


def make(row: Row, data: Path, directory: Path, kind: Recorded) -> Made:
    """Train on a slice of an archive, and ask about files that were not learned from."""
    if not data.exists():
        raise SystemExit(f"{data} is not on this machine: set RECURRA_SHARED_DATA to where the data is.")
    file = directory / "slice.zip"
    directory.mkdir()
    with zipfile.ZipFile(data) as archive:
        lines: list[Json] = [orjson.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
        parts = {mark: [one for one in lines if one["split"] == mark] for mark in ("train", "valid", "test")}
        learned = [
            *thinned(parts["train"], row.examples),
            *thinned(parts["valid"], HELD_OUT),
            *thinned(parts["test"], HELD_OUT),
        ]
        with zipfile.ZipFile(file, "w") as sliced:
            sliced.writestr("manifest.jsonl", b"".join(orjson.dumps(one) + b"\n" for one in learned))
            for one in learned:
                sliced.writestr(one[kind.member], archive.read(one[kind.member]))
        others = [archive.read(one[kind.member]) for one in [*parts["test"], *parts["valid"]]]
    suitable = [one for one in others if kind.shortest <= seconds_of(row.task, one) <= kind.longest]
    trained = train_with_defaults(row.task, file, directory, epochs=row.epochs)
    instances = [instance(kind, content) for content in thinned(suitable, REQUESTS)]
    return Made(row, directory / "out", ask(Reader(directory / "out"), instances), trained.parameters)


def instance(kind: Recorded, content: bytes) -> Json:
    """A file as a request has it."""
    return {kind.field: base64.b64encode(content).decode()}
