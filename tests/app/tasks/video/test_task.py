"""The plan, the instances, the answers and the scores of the task."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from app.errors import Invalid
from app.ingest.readers import Mapping, open_source
from app.tasks.contract import Input, Output, Plan
from app.tasks.source import Faults, Reading
from app.tasks.video import TASK
from app.tasks.video.options import VideoInstance, VideoOptions, VideoParameters
from tests.support.factories.clips import encode, moving_square, sides, sound
from tests.support.single import decode_one, encode_one

OPTIONS = VideoOptions(size=12, frames=4)


@cache
def reading() -> Reading:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "clips.zip"
        path.write_bytes(sides(20))
        faults = Faults()
        return TASK.read(open_source(path, "zip", Mapping.checked({}, ()), faults), faults)


def plan(**options: Any) -> Plan:
    return TASK.plan(reading().arrays, OPTIONS.model_copy(update=options), 0)


def test_the_plan_is_of_small_images_with_a_label_a_clip() -> None:
    made = plan(color=True)
    assert (made.input, made.output, made.features, made.outputs) == (Input.CLIPS, Output.LABEL, 432, 2)
    assert made.network == {"channels": 3, "height": 12, "width": 12, "differences": True}
    assert made.state["labels"] == ["left", "right"]
    batch = made.test.batch(np.arange(2), None)
    assert batch.inputs.shape == (2, 4, 432)
    assert batch.inputs.dtype == np.uint8
    assert not made.valid.carried


def test_the_frame_average_network_is_the_ablation() -> None:
    assert plan().ablation == {
        "cell": "none",
        "bidirectional": False,
        "pooling": "mean",
        "differences": False,
        "dropout": 0.1,
        "input_dropout": 0.0,
    }
    assert plan(frame_average=False).ablation is None


def test_training_varies_the_clips_and_nothing_else_does() -> None:
    made, rows = plan(), np.arange(2)
    varied = [made.train.batch(rows, np.random.default_rng(seed)).inputs for seed in (1, 1, 2)]
    np.testing.assert_array_equal(varied[0], varied[1])
    assert (varied[0] != varied[2]).any()
    np.testing.assert_array_equal(
        made.test.batch(rows, np.random.default_rng(1)).inputs, made.test.batch(rows, None).inputs
    )
    plain = plan(augment=False).train
    np.testing.assert_array_equal(
        plain.batch(rows, np.random.default_rng(1)).inputs, plain.batch(rows, None).inputs
    )


def test_an_instance_is_encoded_as_its_clip_in_the_data_set() -> None:
    made = plan()
    instances = TASK.instances(reading().arrays, made.state)
    split: Any = made.test
    for place, row in enumerate(split.rows.tolist()):
        example = encode_one(TASK, made.state, instances[row], VideoParameters())
        np.testing.assert_array_equal(example.inputs, split.batch(np.array([place]), None).inputs[0])


def test_frames_that_are_a_stride_apart() -> None:
    state = plan(stride=2).state
    content = encode(moving_square(right=True, count=12))
    strided = encode_one(TASK, state, VideoInstance(content), VideoParameters()).inputs
    every = encode_one(TASK, plan(frames=12).state, VideoInstance(content), VideoParameters()).inputs
    np.testing.assert_array_equal(strided, every[[0, 2, 4, 6]])


@pytest.mark.parametrize(
    ("content", "detail"),
    [(b"", "is not a video that can be read"), (sound(), "has only sound")],
)
def test_what_is_no_clip_is_refused(content: bytes, detail: str) -> None:
    with pytest.raises(Invalid) as caught:
        encode_one(TASK, plan().state, VideoInstance(content), VideoParameters())
    ((pointer, said),) = caught.value.problems
    assert (pointer, said) == ("/video_base64", detail)


def test_an_answer_has_the_labels_that_were_requested() -> None:
    state, outputs = plan().state, np.log(np.array([0.3, 0.7], np.float32))
    example = encode_one(TASK, state, VideoInstance(encode(moving_square(right=True))), VideoParameters())
    whole = decode_one(TASK, state, example, outputs, VideoParameters())
    assert whole["label"] == "right"
    assert list(whole["scores"]) == ["right", "left"]
    assert sum(whole["scores"].values()) == pytest.approx(1)
    first = decode_one(TASK, state, example, outputs, VideoParameters(top_k=1))
    assert first == {"label": "right", "scores": {"right": pytest.approx(0.7)}}


def test_a_clip_that_is_cut_off_is_answered_with_a_warning() -> None:
    state, outputs = plan().state, np.log(np.array([0.3, 0.7], np.float32))
    content = encode(moving_square(right=True, count=60), container="webm", codec="libvpx")
    for part, warnings in (
        (content, None),
        (content[:-600], ["The clip ends before its header says; what is there was read."]),
    ):
        example = encode_one(TASK, state, VideoInstance(part), VideoParameters())
        assert decode_one(TASK, state, example, outputs, VideoParameters()).get("warnings") == warnings


def test_scores_of_a_perfect_network_and_of_the_most_frequent_label() -> None:
    made = plan()
    split: Any = made.test
    outputs = [np.log(np.eye(2, dtype=np.float32)[label] * 0.98 + 0.01) for label in split.labels]
    state = TASK.calibrate(made.state, split, outputs)
    metrics, baseline = TASK.score(state, split, outputs)
    assert metrics["accuracy"] == metrics["macro_f1"] == 1.0
    assert metrics["per_class"].keys() == {"left", "right"}
    assert baseline["accuracy"] == pytest.approx(float(np.mean(split.labels == 0)))
    assert TASK.calibrate(made.state | {"calibrate": False}, split, outputs)["temperature"] == 1.0
    assert TASK.sweep_metrics({}).keys() <= metrics.keys()


def test_options_that_do_not_fit_a_data_set() -> None:
    summary = reading().summary
    assert TASK.check(summary, OPTIONS) == []
    large = VideoOptions(frames=256, size=224, class_weights={"up": 2.0})
    assert [problem.pointer for problem in TASK.check(summary, large)] == [
        "/options/frames",
        "/options/class_weights/up",
    ]


def test_fewer_clips_are_learned_for_more_epochs() -> None:
    few, many = (TASK.defaults({"examples": count}, OPTIONS).training["epochs"] for count in (100, 10_000))
    assert few > many
