"""Music: a language model of events that composes, or continues a beginning.

The pieces to train on are one stream, read in `batch_size` parts side by side, with the network's state
carried from part to part (truncated backpropagation through time: Williams & Peng 1990). The answer is a MIDI
file, and its notes.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.arrays import Arrays, Ints
from app.errors import Problem
from app.tasks.contract import (
    UNKNOWN,
    Batch,
    DecodedTokens,
    Defaults,
    Example,
    Input,
    Output,
    Plan,
    Split,
    TensorField,
    batch_stream_problems,
    with_warnings,
)
from app.tasks.demonstration import Demo
from app.tasks.encode_instances import encode_each
from app.tasks.evaluation.contract import TaskEvaluation
from app.tasks.music.baseline import ngram_nats
from app.tasks.music.codings.pieces import MELODIC_KEYS, TRANSPOSITIONS, Coding, label_events
from app.tasks.music.codings.selection import coding_from_json, coding_to_json, fit_coding
from app.tasks.music.demo import DEMO
from app.tasks.music.detokenizer import NoteDetokenizer
from app.tasks.music.encoding import HeldOutWindows, TrainingStream, Variation
from app.tasks.music.evaluation import EVALUATION
from app.tasks.music.inference import (
    MusicInstance,
    MusicInstances,
    MusicParameters,
    decoding_settings,
    encode_primer,
)
from app.tasks.music.metrics import describe_notes, likelihood_metrics
from app.tasks.music.midi_file import write_notes
from app.tasks.music.options import (
    BPTT_EVENTS,
    EXAMPLE_INSTANCE,
    EXAMPLE_PREDICTION,
    NETWORK_DEFAULTS,
    MusicOptions,
    MusicPrediction,
    check_options,
    training_defaults,
    untrainable,
    workload,
)
from app.tasks.music.preview import MusicPreviewRow, preview_pieces
from app.tasks.music.reading import MIDI, StoredPieces, read_beginnings, read_pieces
from app.tasks.preview import PreviewRows, RowBounds
from app.tasks.shared.splits import SPLIT, partition_rows
from app.tasks.source import Faults, Reading, Source
from app.tasks.workload import Workload
from app.typedefs import Json


class HeldOutMusic:
    """A held-out split, and the stream of events (events,) that the baseline learns from.

    With `transpose` the baseline counts it in every key.
    """

    def __init__(self, windows: HeldOutWindows, train: Ints, *, transpose: bool) -> None:
        self.windows, self.train, self.transpose = windows, train, transpose
        self.lengths: Ints = windows.lengths  # (windows,)
        self.carried = False  # every window is read from a fresh state

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """See `HeldOutWindows.batch`."""
        return self.windows.batch(rows, rng)


class Music:
    """One stream of events; pieces begin and end with `END`, which the network predicts as well."""

    name: ClassVar[str] = "music"
    bidirectional: ClassVar[bool] = False  # what follows is what is to be predicted
    formats: ClassVar[tuple[str, ...]] = ("zip",)
    columns: ClassVar[tuple[str, ...]] = (MIDI, SPLIT)
    options: ClassVar[type[BaseModel]] = MusicOptions
    instance: ClassVar[type[msgspec.Struct]] = MusicInstance
    parameters: ClassVar[type[msgspec.Struct]] = MusicParameters
    prediction: ClassVar[type[object]] = MusicPrediction
    preview_row: ClassVar[type[object]] = MusicPreviewRow
    example_instance: ClassVar[Json] = EXAMPLE_INSTANCE
    example_prediction: ClassVar[Json] = EXAMPLE_PREDICTION
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]] = {
        "300 chorales": ({"train_events": 60_000}, {}),
        "100 pieces for the piano": ({"train_events": 300_000}, {}),
    }
    slow_to_encode: ClassVar[bool] = True
    loss_changing: ClassVar[frozenset[str]] = frozenset({"options.coding", "options.steps_per_quarter"})
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("midi_base64", "BYTES", (), required=False, binary=True),
    )
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("midi_base64", "BYTES", (), binary=True),
        TensorField("finish_reason", "BYTES", ()),
    )
    instance_names: ClassVar[dict[str, str]] = {}
    demo: ClassVar[Demo] = DEMO
    evaluation: ClassVar[TaskEvaluation] = EVALUATION

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read the pieces of an archive of MIDI files."""
        arrays, summary, warnings = read_pieces(source, faults)
        return Reading(arrays, summary, warnings, untrainable(summary))

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        """One instance a file, which is its beginning."""
        return read_beginnings(source, faults)

    def check(self, summary: Json, options: MusicOptions) -> list[Problem]:
        """Report too little music, and options that contradict the data or each other."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: MusicOptions) -> Defaults:
        """Defaults by how much music there is."""
        del options
        return Defaults(NETWORK_DEFAULTS, training_defaults(summary))

    def workload(self, summary: Json, options: MusicOptions, network: Json, training: Json) -> Workload:
        """How much a training computes at once."""
        return workload(summary, options, network, training)

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        """Nats per time step can be compared between codings of one grid, those per event cannot."""
        del summary
        return {"nats_per_step": False, "nats_per_event": False}

    def plan(self, arrays: Arrays, options: MusicOptions, seed: int, bptt_steps: int | None = None) -> Plan:
        """Split the pieces, choose the coding by the training part, and lay out the stream."""
        pieces, rows = StoredPieces(arrays), partition_rows(arrays[SPLIT], seed)
        train, valid, test = (
            [pieces[int(row)] for row in part] for part in (rows.train, rows.valid, rows.test)
        )
        coding = fit_coding(train, options.coding, options.steps_per_quarter)
        variation = Variation(options.transpose, options.stretch)
        stream = TrainingStream(coding, train, variation, bptt_steps or BPTT_EVENTS)
        held_out = [HeldOutWindows(coding, part) for part in (valid, test)]
        return Plan(
            state={"coding": coding_to_json(coding)},
            input=Input.TOKENS,
            output=Output.NEXT_TOKEN,
            features=1,
            outputs=coding.size,
            train=stream,
            valid=HeldOutMusic(held_out[0], stream.canonical, transpose=options.transpose),
            test=HeldOutMusic(held_out[1], stream.canonical, transpose=options.transpose),
            network={"vocabularies": [coding.size], "character_vocabulary": 0, "word_length": 0},
        )

    def calibrate(self, state: Json, split: Split, outputs: list[Any]) -> Json:
        """The same state: nothing is calibrated."""
        del split, outputs
        return state

    def check_dataset(self, summary: Json, state: Json, parameters: MusicParameters) -> list[Problem]:
        """Any piece can be a beginning, but a batch is not streamed."""
        del summary, state
        return batch_stream_problems(stream=parameters.stream)

    def instances(self, arrays: Arrays, state: Json) -> MusicInstances:
        """Each piece as a beginning."""
        del state
        return MusicInstances(arrays)

    def preview(self, arrays: Arrays, bounds: RowBounds) -> PreviewRows:
        """The members with what is in them."""
        return preview_pieces(arrays, bounds)

    def encode(
        self, state: Json, instances: Iterable[MusicInstance], parameters: MusicParameters
    ) -> list[Example]:
        """The end of each beginning as events, and the settings of decoding."""
        coding = coding_from_json(state["coding"])

        def encode_one(instance: MusicInstance) -> Example:
            primer, warnings = encode_primer(coding, instance.midi_base64)
            return Example(primer, warnings, decoding_settings(coding, primer, parameters))

        return encode_each(instances, encode_one)

    def detokenizer(self, state: Json, decoding: Json) -> NoteDetokenizer:
        """What makes notes of the events of one piece as they are composed."""
        return NoteDetokenizer(coding_from_json(state["coding"]), decoding["stop"])

    def decode(
        self,
        state: Json,
        examples: Sequence[Example],
        outputs: Sequence[DecodedTokens],
        parameters: MusicParameters,
    ) -> list[Json]:
        """The pieces alone, without their given beginnings; `notes` are in the order of their starts."""
        del parameters
        coding = coding_from_json(state["coding"])
        return [
            with_warnings(_build_prediction(coding, example.decoding or {}, decoded), example.context)
            for example, decoded in zip(examples, outputs, strict=True)
        ]

    def step_labels(self, state: Json, instance: MusicInstance, example: Example) -> list[str]:
        """What each event of the beginning says, after the end of the piece before it."""
        del instance
        return label_events(coding_from_json(state["coding"]), example.inputs[:, 0].tolist())

    def score(self, state: Json, split: Split, outputs: list[Any]) -> tuple[Json, Json]:
        """Nats per event and per time step of the network, and of counting events (a 5-gram model).

        An event that the coding lacks costs what naming one of 128 pitches costs in addition.
        """
        held_out = _held_out_music(split)
        windows, coding = held_out.windows, coding_from_json(state["coding"])
        steps = sum(coding.count_steps(piece) for piece in windows.pieces)
        shifts = list(TRANSPOSITIONS) if held_out.transpose else [0]
        unknown = np.concatenate([[*(events == UNKNOWN), False] for events in windows.events])
        extra = unknown * np.log(MELODIC_KEYS)
        ours = windows.scored(outputs) + extra
        counted = ngram_nats(coding, held_out.train, shifts, windows.events) + extra
        metrics = likelihood_metrics(ours, steps) | {"events_per_step": round(len(ours) / steps, 4)}
        return metrics, likelihood_metrics(counted, steps)


def _held_out_music(split: Split) -> HeldOutMusic:
    """A held-out split of this task; raises `TypeError` for another split."""
    if isinstance(split, HeldOutMusic):
        return split
    raise TypeError("only a held-out part of a data set can be scored")


def _build_prediction(coding: Coding, settings: Json, decoded: DecodedTokens) -> Json:
    """The prediction that the events of one piece mean."""
    detokenizer = NoteDetokenizer(coding, settings["stop"])
    detokenizer.push(decoded.tokens.tolist())
    detokenizer.close()
    notes = sorted(detokenizer.notes, key=lambda note: (note.start, -note.key))
    reason = "stop" if detokenizer.ended else decoded.note.get("finish_reason", "length")
    return {
        "midi_base64": write_notes(coding, notes),
        "notes": [detokenizer.describe(note) for note in notes],
        "finish_reason": reason,
        "statistics": describe_notes(notes, detokenizer.tokens, detokenizer.invalid),
    }


TASK = Music()
