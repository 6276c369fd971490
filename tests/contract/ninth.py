"""A ninth task of a new modality in one package: what a recording of whistled notes says. For tests only.

It reads small zip archives of raw samples; its inputs are frames that a strided convolution reads; its
outputs are aligned by CTC.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, ClassVar, NotRequired

import msgspec
import numpy as np
from pydantic import BaseModel, ConfigDict

from app.arrays import Arrays, Floats, Ints
from app.errors import Invalid, Problem
from app.tasks.contract import Batch, Defaults, Example, Input, Output, Plan, Prediction, Split, TensorField
from app.tasks.demonstration import Demo
from app.tasks.encode_instances import encode_each
from app.tasks.preview import PreviewRow, PreviewRows, RowBounds, file_field
from app.tasks.shared.ragged import Ragged
from app.tasks.shared.splits import UNASSIGNED, partition_rows
from app.tasks.source import Faults, Reading, Source
from app.typedefs import Json

NOTES = "abc"  # label 0 is CTC's blank
FRAME = 4  # samples of one frame


class MelodyOptions(BaseModel):
    """None."""

    model_config = ConfigDict(extra="forbid")


class MelodyInstance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Raw little-endian float32 samples; base64 in JSON."""

    samples: bytes


class MelodyParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class MelodyPrediction(Prediction):
    """The notes of a recording."""

    notes: str


class MelodyPreviewRow(PreviewRow):
    """A recording."""

    frames: int
    samples: NotRequired[bytes | None]


def frames_of(samples: bytes) -> Floats:
    """Frames (time, FRAME) of raw samples; raises `ValueError`."""
    if not samples or len(samples) % (4 * FRAME):
        raise ValueError(f"is not a number of frames of {4 * FRAME} bytes")
    return np.frombuffer(samples, "<f4").reshape(-1, FRAME)


class MelodySplit:
    """Some of the recordings."""

    def __init__(self, frames: Ragged, notes: Ragged, rows: Ints) -> None:
        self.frames, self.notes, self.rows = frames, notes, rows
        self.lengths, self.carried = frames.lengths[rows], False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        frames, lengths = self.frames.padded(self.rows[rows])  # (batch, time, FRAME)
        targets, counts = self.notes.padded(self.rows[rows])  # (batch, notes)
        weights = np.arange(targets.shape[1]) < counts[:, None]
        return Batch(frames, lengths, targets, weights.astype(np.float32))


class MelodyInstances:
    """The recordings of a data set as instances."""

    def __init__(self, frames: Ragged) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> MelodyInstance:
        return MelodyInstance(self._frames[index].astype("<f4").tobytes())


def best_path(log_probabilities: Floats) -> str:
    """The notes of log-probabilities (steps, labels): repetitions merged, blanks left out."""
    labels = [label for label, _ in groupby(log_probabilities.argmax(axis=1).tolist())]
    return "".join(NOTES[label - 1] for label in labels if label)


def encode_instance(instance: MelodyInstance) -> Example:
    try:
        return Example(frames_of(instance.samples), None)
    except ValueError as error:
        raise Invalid(problems=[Problem("/samples", str(error))]) from None


class Melody:
    """Notes of a recording."""

    name: ClassVar[str] = "ninth"
    bidirectional: ClassVar[bool] = True
    formats: ClassVar[tuple[str, ...]] = ("zip",)
    columns: ClassVar[tuple[str, ...]] = ("recording", "notes")
    options: ClassVar[type[BaseModel]] = MelodyOptions
    instance: ClassVar[type[msgspec.Struct]] = MelodyInstance
    parameters: ClassVar[type[msgspec.Struct]] = MelodyParameters
    prediction: ClassVar[type[object]] = MelodyPrediction
    preview_row: ClassVar[type[object]] = MelodyPreviewRow
    example_instance: ClassVar[Json] = {"samples": ""}
    example_prediction: ClassVar[Json] = {"notes": "abc"}
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]] = {"recordings": ({}, {})}
    loss_changing: ClassVar[frozenset[str]] = frozenset()
    slow_to_encode: ClassVar[bool] = True
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (TensorField("samples", "BYTES", (), binary=True),)
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (TensorField("notes", "BYTES", ()),)
    instance_names: ClassVar[dict[str, str]] = {}
    demo: ClassVar[Demo] = Demo(
        "none", "recordings", "the commonest notes", {"exact": True}, {}, lambda *_: [], None
    )

    def read(self, source: Source, faults: Faults) -> Reading:
        frames, notes, named = [], [], set()
        for line, record in source.manifest():
            name, text = str(record.get("recording")), str(record.get("notes"))
            named.add(name)
            try:
                with source.open_member(name) as file:
                    frames.append(frames_of(file.read()))
            except KeyError:
                faults.add(f"The archive has no member {name}.", row=line, column="recording")
            except ValueError as error:
                faults.add(f"The member {name} {error}.", member=name)
            else:
                notes.append([1 + NOTES.index(note) for note in text])
        faults.check()
        left_out = [f"The member {name} is in no line of the manifest." for name in source.unlisted(named)]
        arrays = Ragged.of(frames, np.float32).arrays("frames") | Ragged.of(notes, np.int64).arrays("notes")
        return Reading(arrays, {"recordings": len(frames)}, left_out)

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        return []

    def check(self, summary: Json, options: Any) -> list[Problem]:
        return [] if summary["recordings"] > 2 else [Problem("/dataset", "too few recordings")]

    def defaults(self, summary: Json, options: Any) -> Defaults:
        return Defaults({"hidden_size": 16, "embedding_size": 16}, {"learning_rate": 0.02})

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        return {"exact": True}

    def plan(self, arrays: Arrays, options: Any, seed: int, bptt_steps: int | None = None) -> Plan:
        frames, notes = Ragged.from_arrays(arrays, "frames"), Ragged.from_arrays(arrays, "notes")
        rows = partition_rows(np.full(len(frames), UNASSIGNED), seed)
        train, valid, test = (
            MelodySplit(frames, notes, part) for part in (rows.train, rows.valid, rows.test)
        )
        network = {"stride": 2, "kernel": 3}
        return Plan(
            {}, Input.FRAMES, Output.ALIGNED, FRAME, 1 + len(NOTES), train, valid, test, network=network
        )

    def calibrate(self, state: Json, split: Split, outputs: list[Any]) -> Json:
        return state

    def check_dataset(self, summary: Json, state: Json, parameters: Any) -> list[Problem]:
        return []

    def instances(self, arrays: Arrays, state: Json) -> MelodyInstances:
        return MelodyInstances(Ragged.from_arrays(arrays, "frames"))

    def preview(self, arrays: Arrays, bounds: RowBounds) -> PreviewRows:
        frames = Ragged.from_arrays(arrays, "frames")

        def row(index: int) -> Json:
            content = file_field("samples", frames[index].tobytes, bounds)
            return {"frames": len(frames[index]), "truncated": False, **content}

        return PreviewRows(len(frames), row)

    def encode(self, state: Json, instances: Iterable[MelodyInstance], parameters: Any) -> list[Example]:
        return encode_each(instances, encode_instance)

    def decode(
        self, state: Json, examples: Sequence[Example], outputs: Sequence[Floats], parameters: Any
    ) -> list[Json]:
        return [{"notes": best_path(row)} for row in outputs]

    def step_labels(self, state: Json, instance: MelodyInstance, example: Example) -> list[str]:
        return [str(step) for step in range(-(-len(example.inputs) // 2))]

    def score(self, state: Json, split: Any, outputs: list[Floats]) -> tuple[Json, Json]:
        expected = ["".join(NOTES[label - 1] for label in split.notes[row]) for row in split.rows]
        right = [best_path(output) == notes for output, notes in zip(outputs, expected, strict=True)]
        commonest = max(map(expected.count, expected), default=0)
        return {"exact": float(np.mean(right))}, {"exact": commonest / max(len(expected), 1)}


TASK = Melody()
