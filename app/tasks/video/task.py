"""Video classification: a network reads the frames of a clip one after the other and names what happens."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.arrays import Arrays, Floats
from app.errors import Problem
from app.tasks.contract import Defaults, Example, Input, Output, Plan, Split, TensorField, with_warnings
from app.tasks.demonstration import Demo
from app.tasks.encode_instances import encode_each
from app.tasks.evaluation.contract import TaskEvaluation
from app.tasks.media_members import MediaMembers
from app.tasks.preview import PreviewRows, RowBounds
from app.tasks.shared import label_metrics
from app.tasks.shared.label_weights import label_weights
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT, partition_rows
from app.tasks.source import Faults, Reading, Source
from app.tasks.video.augmentation import ClipAugmentation
from app.tasks.video.baseline import most_frequent
from app.tasks.video.demo import DEMO
from app.tasks.video.encoding import ClipEncoding, VideoData, VideoSplit, cache_frames
from app.tasks.video.evaluation import EVALUATION
from app.tasks.video.inference import FIELD, VideoInstances, encode_instance
from app.tasks.video.options import (
    EXAMPLE_INSTANCE,
    EXAMPLE_PREDICTION,
    VideoInstance,
    VideoOptions,
    VideoParameters,
    check_options,
    default_hyperparameters,
    workload,
)
from app.tasks.video.preview import VideoPreviewRow, preview_clips
from app.tasks.video.reading import CLIPS, FIELDS, LABEL, LABELS, VIDEO, read_clips
from app.tasks.workload import Workload
from app.typedefs import Json

# The frame-average network: single frames without their changes, no recurrence, the mean over the frames.
FRAME_AVERAGE: Json = {
    "cell": "none",
    "bidirectional": False,
    "pooling": "mean",
    "differences": False,
    "dropout": 0.1,
    "input_dropout": 0.0,
}


class VideoClassification:
    """Frames are decoded in a child process, scaled once and cached; probabilities are calibrated."""

    name: ClassVar[str] = "video"
    bidirectional: ClassVar[bool] = True
    formats: ClassVar[tuple[str, ...]] = ("zip",)
    columns: ClassVar[tuple[str, ...]] = FIELDS
    options: ClassVar[type[BaseModel]] = VideoOptions
    instance: ClassVar[type[msgspec.Struct]] = VideoInstance
    parameters: ClassVar[type[msgspec.Struct]] = VideoParameters
    prediction: ClassVar[type[object]] = label_metrics.LabelPrediction
    preview_row: ClassVar[type[object]] = VideoPreviewRow
    example_instance: ClassVar[Json] = EXAMPLE_INSTANCE
    example_prediction: ClassVar[Json] = EXAMPLE_PREDICTION
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]] = {
        "200 clips": ({"examples": 200}, {}),
        "1,000 clips": ({"examples": 1_000}, {}),
    }
    slow_to_encode: ClassVar[bool] = True
    loss_changing: ClassVar[frozenset[str]] = frozenset()
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (TensorField(FIELD, "BYTES", (), binary=True),)
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField(LABEL, "BYTES", ()),
        TensorField("scores", "FP64", (-1,)),  # (labels,)
    )
    instance_names: ClassVar[dict[str, str]] = {VIDEO: FIELD}
    demo: ClassVar[Demo] = DEMO
    evaluation: ClassVar[TaskEvaluation] = EVALUATION

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read the clips that the archive's manifest names, with their labels where they have them."""
        return read_clips(source, faults)

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        """One instance a line of the manifest, or a member where there is no manifest."""
        members = MediaMembers(source, faults, VIDEO)
        return members.instances(members.named() or [(member.name, None) for member in source.members()])

    def check(self, summary: Json, options: VideoOptions) -> list[Problem]:
        """Report clips of too many pixels, and weights of labels that no clip has."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: VideoOptions) -> Defaults:
        """Defaults that suit the number of clips."""
        del options
        return Defaults(*default_hyperparameters(summary))

    def workload(self, summary: Json, options: VideoOptions, network: Json, training: Json) -> Workload:
        """How much a training computes at once."""
        return workload(summary, options, network, training)

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        """Accuracy over clips, F1 averaged over labels, and the likelihood of the expected labels."""
        del summary
        return {"accuracy": True, "macro_f1": True, "log_loss": False}

    def plan(self, arrays: Arrays, options: VideoOptions, seed: int, bptt_steps: int | None = None) -> Plan:
        """Split by label, decode all clips, and cache their frames; raises `MediaError`."""
        del bptt_steps  # a clip has one loss
        labels, encoding = Texts.from_arrays(arrays, LABELS), ClipEncoding.of(options)
        rows = partition_rows(arrays[SPLIT], seed, arrays[LABEL])
        names = labels.pick(range(len(labels)))
        state = {
            "labels": names,
            "encoding": asdict(encoding),
            "temperature": 1.0,
            "calibrate": options.calibrate,
        }
        frames = cache_frames(Ragged.from_arrays(arrays, CLIPS), encoding)
        weights = label_weights(arrays[LABEL][rows.train], names, options.class_weights)
        equal, augmentation = np.ones(len(names), np.float32), ClipAugmentation(mirror=options.mirror)
        data = VideoData(arrays[LABEL], frames, encoding, rows.train)
        return Plan(
            state=state,
            input=Input.CLIPS,
            output=Output.LABEL,
            features=encoding.features,
            outputs=len(names),
            train=VideoSplit(rows.train, data, weights, augmentation if options.augment else None),
            valid=VideoSplit(rows.valid, data, equal),
            test=VideoSplit(rows.test, data, equal),
            network={
                "channels": encoding.channels,
                "height": encoding.size,
                "width": encoding.size,
                "differences": options.differences,
            },
            ablation=FRAME_AVERAGE if options.frame_average else None,
            ablation_train=VideoSplit(rows.train, data, weights),
        )

    def calibrate(self, state: Json, split: Split, outputs: list[Floats]) -> Json:
        """The state with the temperature that calibrates the outputs, if the job is to calibrate."""
        if not state["calibrate"]:
            return state
        temperature = label_metrics.fit_temperature(np.stack(outputs), video_split(split).labels)
        return state | {"temperature": temperature}

    def check_dataset(self, summary: Json, state: Json, parameters: VideoParameters) -> list[Problem]:
        """Nothing: any clip can be predicted."""
        del summary, state, parameters
        return []

    def instances(self, arrays: Arrays, state: Json) -> VideoInstances:
        """Each clip without its label."""
        del state
        return VideoInstances(arrays)

    def preview(self, arrays: Arrays, bounds: RowBounds) -> PreviewRows:
        """The members with their labels."""
        return preview_clips(arrays, bounds)

    def encode(
        self, state: Json, instances: Iterable[VideoInstance], parameters: VideoParameters
    ) -> list[Example]:
        """The frames of each clip, (time, features) uint8."""
        del parameters
        return encode_each(instances, partial(encode_instance, state))

    def decode(
        self,
        state: Json,
        examples: Sequence[Example],
        outputs: Sequence[Floats],
        parameters: VideoParameters,
    ) -> list[Json]:
        """The most probable label, and the probabilities of labels in falling order."""
        return [
            with_warnings(label_metrics.label_answer(state, row, parameters.top_k), example.context)
            for example, row in zip(examples, outputs, strict=True)
        ]

    def step_labels(self, state: Json, instance: VideoInstance, example: Example) -> list[str]:
        """The numbers of the frames, of those that are read."""
        del state, instance
        return [str(number) for number in range(1, 1 + len(example.inputs))]

    def score(self, state: Json, split: Split, outputs: list[Floats]) -> tuple[Json, Json]:
        """Accuracy, F1 and calibration; of the most frequent label accuracy and F1."""
        clips = video_split(split)
        network = label_metrics.evaluate_labels(state, clips.labels, np.stack(outputs))
        constant = most_frequent(clips.data.train_labels, len(clips.labels))
        return network, label_metrics.overall_scores(constant, clips.labels)


def video_split(split: Split) -> VideoSplit:
    """The split as one of this task; raises `TypeError` for another."""
    if isinstance(split, VideoSplit):
        return split
    raise TypeError("only labeled clips can be scored")


TASK = VideoClassification()
