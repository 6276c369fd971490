"""Speech recognition: the words of a recording, with their times.

Log-mel frames go through a strided convolution and a recurrent stack, whose outputs are aligned with the
transcript by CTC (Graves et al. 2006).
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
from pydantic import BaseModel

from app.arrays import Arrays, Floats
from app.errors import Problem
from app.media.filterbank import FRAMES_A_SECOND
from app.tasks.contract import (
    Defaults,
    Example,
    Input,
    Output,
    Plan,
    Split,
    TensorField,
    batch_stream_problems,
)
from app.tasks.demonstration import Demo
from app.tasks.encode_instances import encode_each
from app.tasks.evaluation.contract import TaskEvaluation
from app.tasks.preview import PreviewRows, RowBounds
from app.tasks.shared.ragged import Ragged
from app.tasks.shared.splits import SPLIT, partition_rows
from app.tasks.shared.text_checks import TEXT
from app.tasks.source import Faults, Reading, Source
from app.tasks.speech import baseline
from app.tasks.speech.augmentation import Augmentation
from app.tasks.speech.beam_search import SearchSettings
from app.tasks.speech.demo import DEMO
from app.tasks.speech.encoding import SpeechSplit, encode_clips
from app.tasks.speech.evaluation.transcripts import EVALUATION
from app.tasks.speech.inference import (
    SpeechInstances,
    SpeechListener,
    SpeechPieces,
    WholeRecording,
    decode_outputs,
    encode_recording,
    join_parts,
    open_listener,
    step_times,
    transcribe,
)
from app.tasks.speech.labels import load_labels, steps_needed
from app.tasks.speech.metrics import choose_search, error_rates
from app.tasks.speech.options import (
    EXAMPLE_INSTANCE,
    EXAMPLE_PREDICTION,
    KERNEL_STRIDES,
    SpeechInstance,
    SpeechOptions,
    SpeechParameters,
    SpeechPrediction,
    check_options,
    default_hyperparameters,
    masked_share,
    window_steps,
    workload,
)
from app.tasks.speech.reading import (
    AUDIO,
    RATE,
    SpeechPreviewRow,
    preview_recordings,
    read_members,
    read_recordings,
)
from app.tasks.workload import Workload
from app.typedefs import Json

BASELINE_FIELDS = ("wer", "cer", "sentence_error_rate")


class Speech:
    """Any audio becomes log-mel frames, frames become labels, and labels a text."""

    name: ClassVar[str] = "speech"
    bidirectional: ClassVar[bool] = True
    formats: ClassVar[tuple[str, ...]] = ("zip",)
    columns: ClassVar[tuple[str, ...]] = (AUDIO, TEXT, SPLIT)
    options: ClassVar[type[BaseModel]] = SpeechOptions
    instance: ClassVar[type[msgspec.Struct]] = SpeechInstance
    parameters: ClassVar[type[msgspec.Struct]] = SpeechParameters
    prediction: ClassVar[type[object]] = SpeechPrediction
    preview_row: ClassVar[type[object]] = SpeechPreviewRow
    example_instance: ClassVar[Json] = EXAMPLE_INSTANCE
    example_prediction: ClassVar[Json] = EXAMPLE_PREDICTION
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]] = {
        "an hour of sentences": ({"train_seconds": 3_600.0, "lengths": {"median": 4.0}}, {}),
        "ten minutes of words": ({"train_seconds": 600.0, "lengths": {"median": 0.5}}, {}),
    }
    slow_to_encode: ClassVar[bool] = True
    loss_changing: ClassVar[frozenset[str]] = frozenset(
        f"options.{name}" for name in ("tokens", "vocabulary_size")
    )
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("audio_base64", "BYTES", (), binary=True),
    )
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("text", "BYTES", ()),
        TensorField("duration_seconds", "FP64", ()),
        TensorField("confidence", "FP64", ()),
    )
    instance_names: ClassVar[dict[str, str]] = {AUDIO: "audio_base64"}
    demo: ClassVar[Demo] = DEMO
    evaluation: ClassVar[TaskEvaluation] = EVALUATION

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read an archive of recordings with their transcripts."""
        return read_recordings(source, faults)

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        """One instance for each line of the manifest, with the bytes of the member that it names."""
        return read_members(source, faults)

    def check(self, summary: Json, options: SpeechOptions) -> list[Problem]:
        """Report a stride that leaves too few steps, and a vocabulary too small for byte pairs."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: SpeechOptions) -> Defaults:
        """Defaults by how much audio there is."""
        del options
        return Defaults(*default_hyperparameters(summary))

    def workload(self, summary: Json, options: SpeechOptions, network: Json, training: Json) -> Workload:
        """How much a training computes at once."""
        return workload(summary, options, network, training)

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        """The error rates, of which less is better."""
        del summary
        return {"wer": False, "cer": False}

    def plan(self, arrays: Arrays, options: SpeechOptions, seed: int, bptt_steps: int | None = None) -> Plan:
        """Split the clips, compute their features, and fit labels and normalization to the training part."""
        del bptt_steps  # a transcript has one loss
        rows = partition_rows(arrays[SPLIT], seed)
        data, state = encode_clips(arrays, rows, options)
        seconds = float(data.frames.lengths[rows.train].sum()) / FRAMES_A_SECOND
        masked = masked_share(options, seconds)
        augmentation = Augmentation(options.speed, options.warp, masked, pauses=options.pauses)
        train = SpeechSplit(rows.train, data, options.stride, augmentation)
        return Plan(
            state=state,
            input=Input.FRAMES,
            output=Output.ALIGNED,
            features=options.mel_bins,
            outputs=load_labels(state["labels"]).count,
            train=train,
            valid=SpeechSplit(rows.valid, data, options.stride),
            test=SpeechSplit(rows.test, data, options.stride),
            network={
                "stride": options.stride,
                "kernel": KERNEL_STRIDES * options.stride - 1,
                "window": window_steps(options, seconds),
            },
            warnings=_fit_warnings(train, options.stride),
        )

    def calibrate(self, state: Json, split: Split, outputs: list[Floats]) -> Json:
        """The state with the search that has the fewest errors on the validation split."""
        clips = speech_split(split)
        cuts = [clips.data.cuts[row] for row in clips.rows.tolist()]
        return state | {"search": choose_search(state, outputs, cuts, clips.texts)}

    def check_dataset(self, summary: Json, state: Json, parameters: SpeechParameters) -> list[Problem]:
        """Any recordings can be predicted, but a batch is not streamed."""
        del summary, state
        return batch_stream_problems(stream=parameters.stream)

    def instances(self, arrays: Arrays, state: Json) -> SpeechInstances:
        """Each clip as a WAV file."""
        del state
        return SpeechInstances(Ragged.from_arrays(arrays, AUDIO), int(arrays[RATE][0]))

    def preview(self, arrays: Arrays, bounds: RowBounds) -> PreviewRows:
        """The members with their transcripts."""
        return preview_recordings(arrays, bounds)

    def encode(
        self, state: Json, instances: Iterable[SpeechInstance], parameters: SpeechParameters
    ) -> list[Example]:
        """Recordings as log-mel frames (time, bins), at the sample rate of the training data."""
        del parameters
        return encode_each(instances, partial(encode_recording, state))

    def decode(
        self,
        state: Json,
        examples: Sequence[Example],
        outputs: Sequence[Any],
        parameters: SpeechParameters,
    ) -> list[Json]:
        """The transcript, the duration, and each word with its times and its confidence."""
        pairs = zip(examples, outputs, strict=True)
        return [decode_outputs(state, example, scores, parameters) for example, scores in pairs]

    def step_labels(self, state: Json, instance: SpeechInstance, example: Example) -> list[str]:
        """When each step begins, in seconds."""
        del instance
        return step_times(state, len(example.inputs))

    def piece_reader(
        self, state: Json, example: Example, parameters: SpeechParameters, *, causal: bool
    ) -> SpeechPieces | WholeRecording:
        """A reader for one recording, whose text is streamed."""
        return SpeechPieces(state, example) if causal else WholeRecording(state, example, parameters)

    def listener(self, state: Json, parameters: SpeechParameters, sample_rate: int | None) -> SpeechListener:
        """A listener for one recording while it is spoken."""
        return open_listener(state, parameters, sample_rate)

    def score(self, state: Json, split: Split, outputs: list[Floats]) -> tuple[Json, Json]:
        """Error rates of the chosen search and of the best path; of a linear model or the best constant."""
        clips = speech_split(split)
        rates = {}
        for name, settings in (("chosen", SearchSettings(**state["search"])), ("greedy", SearchSettings(1))):
            transcripts = [
                join_parts(state, transcribe(state, clip, clips.data.cuts[row], settings))
                for row, clip in zip(clips.rows.tolist(), outputs, strict=True)
            ]
            rates[name] = error_rates(clips.texts, transcripts)
        others = baseline_rates(clips)
        metrics = rates["chosen"] | {
            "greedy": _main_fields(rates["greedy"]),
            "baselines": others,
            "search": state["search"],
        }
        return metrics, others.get("linear", others["constant"])


def baseline_rates(clips: SpeechSplit) -> dict[str, Json]:
    """Error rates of the best constant answer, and of a linear model where there are few transcripts."""
    data = clips.data
    constant = baseline.constant_transcript([data.texts[row] for row in data.training_rows.tolist()])
    rates = {"constant": _main_fields(error_rates(clips.texts, [constant] * len(clips.rows)))}
    linear = baseline.linear_transcripts(data.frames, data.texts, data.training_rows, clips.rows)
    if linear is not None:
        rates["linear"] = _main_fields(error_rates(clips.texts, linear))
    return rates


def _main_fields(rates: Json) -> Json:
    return {name: rates[name] for name in BASELINE_FIELDS}


def _fit_warnings(train: SpeechSplit, stride: int) -> list[str]:
    """A warning about training clips whose labels do not fit into their steps: nothing is learned of them."""
    long = sum(
        steps_needed(train.data.labels[row]) > -(-int(length) // stride)
        for row, length in zip(train.rows.tolist(), train.lengths, strict=True)
    )
    if not long:
        return []
    return [f"{long:,} training clips have more labels than steps, and are not learned from."]


def speech_split(split: Split) -> SpeechSplit:
    """The split as one of this task; raises `TypeError` for another."""
    if isinstance(split, SpeechSplit):
        return split
    raise TypeError("only recordings with transcripts can be scored")


TASK = Speech()
