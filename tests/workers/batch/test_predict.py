"""The loop of batch prediction: every instance once, in order, the same bytes whoever computes them."""

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.arrays import Array, Ints
from app.errors import NotFound, Unavailable
from app.infrastructure.artifacts import digest_files
from app.infrastructure.stored_arrays import map_arrays, unpack
from app.tasks.contract import Input, Output
from app.tasks.forecasting.encoding import input_width
from app.tasks.forecasting.inference import ForecastingParameters
from app.tasks.forecasting.instances import ForecastingInstanceView
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.batches import HORIZON, dataset, lines, mixed, version
from tests.support.factories.series import series_set, waves
from tests.support.single import decode_one, encode_one
from tests.workers.lively import lively
from workers.artifact.export import save
from workers.batch import child
from workers.batch import predict as batch
from workers.batch.predict import BatchSpec, Predicted, batches, pad, predict
from workers.inference.artifact_cache import DamagedArtifact
from workers.inference.engines import Engine, open_onnx
from workers.inference.padding import MAX_BATCH_FLOATS
from workers.inference.torch_engine import open_torch
from workers.nn import ModelConfig


class Counted:
    """An engine that notes the shapes it ran."""

    decoder = codec = None

    def __init__(self, engine: Engine, features: int = 0) -> None:
        self._engine, self.pace, self.features = engine, engine.pace, features
        self.output, self.stride = engine.output, engine.stride
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Array, lengths: Ints) -> Array:
        self.shapes.append(inputs.shape)
        assert lengths.max() == inputs.shape[1]
        return self._engine.run(inputs, lengths)


class Place:
    """A directory with a version and a data set, and what one run over it told."""

    def __init__(self, directory: Path, state: Json, series: SeriesSet) -> None:
        self.data, self.model = directory / "data", directory / "model"
        self.state, self.series = state, series
        self.engine = Counted(open_onnx(self.model, "cpu"), input_width(self.state))
        self.told: list[Json] = []

    def run(self, out: Path, should_stop: Callable[[], bool] = lambda: False, **spec: Any) -> Predicted:
        out.mkdir(exist_ok=True)
        wanted = BatchSpec("forecasting", **{"parameters": {}, **spec})
        told = (self.data, self.model, out, self.engine)
        return predict(wanted, *told, on=self.told.append, should_stop=should_stop)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Json, SeriesSet]:
    """A directory with both, of which each test has a copy."""
    directory = tmp_path_factory.mktemp("files")
    return directory, version(directory / "model"), dataset(directory / "data", mixed(50))


@pytest.fixture
def place(files: tuple[Path, Json, SeriesSet], tmp_path: Path) -> Place:
    directory, state, series = files
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    return Place(tmp_path, state, series)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PART_INSTANCES", 16)
    monkeypatch.setattr(batch, "MAX_BATCH_ROWS", 5)


def joined(out: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(out.iterdir()))


def test_every_instance_has_its_line_in_order(place: Place, tmp_path: Path) -> None:
    done = place.run(tmp_path / "out")
    assert done == Predicted(50, 5, stopped=False)
    found = lines(joined(tmp_path / "out"))
    assert [line["index"] for line in found] == list(range(50))
    for line in found:
        if line["index"] % 10 == 9:
            assert line["error"] == {"pointer": "/values", "detail": "At least one value must be observed."}
            assert line.keys() == {"index", "item_id", "error"}
            assert line["item_id"] == f"s{line['index']}"
        else:
            assert line.keys() == {"index", "item_id", "prediction"}
            assert line["item_id"] == line["prediction"]["item_id"] == f"s{line['index']}"
            assert len(line["prediction"]["mean"]) == len(line["prediction"]["timestamps"]) == HORIZON


def test_an_instance_that_could_not_be_read_just_now_has_a_line_too(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = TASK.encode

    def encode_all_but_one(state: Json, instances: Sequence[Any], parameters: Any) -> Any:
        if any(instance.item_id == "s3" for instance in instances):
            raise Unavailable
        return encode(state, instances, parameters)

    monkeypatch.setattr(type(TASK), "encode", lambda _, *arguments: encode_all_but_one(*arguments))
    failed = place.run(tmp_path / "out").failed
    errors = [json.loads(line).get("error") for line in joined(tmp_path / "out").splitlines()]
    assert "try again" in errors[3]["detail"]
    assert failed == len(errors) - errors.count(None)


def test_answers_are_those_of_one_request_at_a_time(place: Place, tmp_path: Path) -> None:
    place.run(tmp_path / "out", parameters={"horizon": 2, "quantiles": [0.1, 0.7]})
    instances = ForecastingInstanceView(place.series, place.state)
    asked = ForecastingParameters(horizon=2, quantiles=[0.1, 0.7])
    for line in lines(joined(tmp_path / "out")):
        if "error" in line:
            continue
        example = encode_one(TASK, place.state, instances[line["index"]], asked)
        outputs = place.engine.run(example.inputs[None], np.array([len(example.inputs)]))[0]
        wanted, found = decode_one(TASK, place.state, example, outputs, asked), line["prediction"]
        assert found["mean"] == pytest.approx(wanted["mean"], rel=1e-6)
        assert found["quantiles"].keys() == {"0.1", "0.7"}
        for level, values in wanted["quantiles"].items():
            assert found["quantiles"][level] == pytest.approx(values, rel=1e-6)
        assert found["timestamps"] == wanted["timestamps"]


def test_each_part_is_told_once_it_is_whole(place: Place, tmp_path: Path) -> None:
    sizes = []

    def told(message: Json) -> None:
        if message["type"] == "checkpoint":
            sizes.append((message["part"], len(lines((out / message["file"]).read_bytes()))))

    out = tmp_path / "out"
    place.told = type("Told", (list,), {"append": lambda self, message: told(message)})()
    place.run(out)
    assert sizes == [(0, 16), (1, 16), (2, 16), (3, 2)]


def test_progress_and_checkpoints_count_what_is_done(place: Place, tmp_path: Path) -> None:
    place.run(tmp_path / "out")
    points = [message for message in place.told if message["type"] == "checkpoint"]
    assert [point["metrics"] for point in points] == [
        {"instances": 16, "failed": 1},
        {"instances": 32, "failed": 3},
        {"instances": 48, "failed": 4},
        {"instances": 50, "failed": 5},
    ]
    assert [point["missed"] for point in points] == [1, 2, 1, 1]
    progress = [message for message in place.told if message["type"] == "progress"]
    fractions = [message["fraction"] for message in progress]
    assert fractions == sorted(fractions)
    assert (progress[0]["instances"], progress[0]["eta_seconds"]) == (0, None)
    last = {"fraction": 1.0, "instances": 50, "total": 50, "eta_seconds": 0.0}
    assert last.items() <= progress[-1].items()
    assert progress[-1]["samples_per_second"] > 0
    json.dumps(place.told, allow_nan=False)


@pytest.mark.parametrize("after", [0, 1, 20, 40, 55])
def test_what_was_stopped_goes_on_to_the_same_bytes(place: Place, tmp_path: Path, after: int) -> None:
    place.run(tmp_path / "whole")
    place.told.clear()
    asked = iter(range(10**9))
    first = place.run(tmp_path / "parts", lambda: next(asked) >= after)
    assert first.stopped
    points = [message for message in place.told if message["type"] == "checkpoint"]
    failed = points[-1]["metrics"]["failed"] if points else 0
    assert first == Predicted(16 * len(points), failed, stopped=True)
    done = place.run(tmp_path / "parts", parts=len(points), failed=failed)
    assert done == Predicted(50, 5, stopped=False)
    assert joined(tmp_path / "parts") == joined(tmp_path / "whole")


def test_when_every_part_is_done_nothing_is_computed(place: Place, tmp_path: Path) -> None:
    assert place.run(tmp_path / "out", parts=4, failed=5) == Predicted(50, 5, stopped=False)
    assert place.engine.shapes == []
    assert list((tmp_path / "out").iterdir()) == []


def test_a_second_attempt_tells_the_speed_of_its_own(place: Place, tmp_path: Path) -> None:
    place.run(tmp_path / "out", parts=3, failed=4)
    progress = [message for message in place.told if message["type"] == "progress"]
    assert progress[0]["instances"] == 48
    assert progress[0]["samples_per_second"] == 0


def test_batches_are_full_and_of_about_equal_lengths(place: Place, tmp_path: Path) -> None:
    place.run(tmp_path / "out")
    assert max(shape[0] for shape in place.engine.shapes) == 5
    assert sum(shape[0] for shape in place.engine.shapes) == 45
    assert len(place.engine.shapes) < 25


def test_a_wait_is_bounded_in_floats_and_changes_no_answer(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run(tmp_path / "plain")
    place.engine.shapes.clear()
    monkeypatch.setattr(batch, "MAX_BATCH_FLOATS", 2000)
    place.run(tmp_path / "bounded")
    assert all(np.prod(shape) <= 2000 for shape in place.engine.shapes if shape[0] > 1)
    for one, other in zip(
        lines(joined(tmp_path / "plain")), lines(joined(tmp_path / "bounded")), strict=True
    ):
        assert one.get("mean", []) == pytest.approx(other.get("mean", []), rel=1e-6)
        assert one.get("error") == other.get("error")


def test_groups_hold_each_key_once_within_their_bounds() -> None:
    rng = np.random.default_rng(0)
    shapes = {key: (int(time), 3) for key, time in enumerate(rng.integers(1, 400, 500))}
    groups = batches(shapes)
    assert sorted(key for group in groups for key in group) == list(range(500))
    for group in groups:
        times = [shapes[key][0] for key in group]
        assert len(group) <= 5
        assert times == sorted(times)
        assert max(times) <= 2 * min(times)
    assert batches({}) == []
    assert batches({7: (MAX_BATCH_FLOATS, 2)}) == [[7]]  # too large for any bound, and still answered


def test_padding_is_zeros_after_each_end() -> None:
    rows = [np.ones((2, 3), np.float32), np.full((4, 3), 2, np.float32)]
    inputs, lengths = pad(rows)
    assert (inputs.shape, inputs.dtype, lengths.tolist()) == ((2, 4, 3), np.float32, [2, 4])
    assert inputs[0, 2:].sum() == 0
    np.testing.assert_array_equal(inputs[1], rows[1])
    tokens, _ = pad([np.array([5, 6]), np.array([7])])
    np.testing.assert_array_equal(tokens, [[5, 6], [7, 0]])


def test_arrays_are_mapped_from_the_disk_and_whole(tmp_path: Path) -> None:
    series = dataset(tmp_path, series_set(waves(3, 20), static=["a", "b", "a"]))
    found = map_arrays(unpack(tmp_path / "arrays.npz", tmp_path / "mapped"))
    wanted = series.arrays()
    assert found.keys() == wanted.keys()
    assert isinstance(found["values"].base, np.memmap)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(ValueError, match="read-only"):
        found["values"][0] = 1.0


REQUEST = """
import json, sys
from pathlib import Path
import workers.batch.child as child
from workers.inference.padding import MAX_BATCH_FLOATS
from workers.inference.engines import open_onnx
last = child.work(open_onnx, json.loads(sys.argv[1]), lambda message: None, lambda: False)
print(json.dumps({"last": last, "torch": "torch" in sys.modules}))
"""


def request(place: Place, out: Path) -> Json:
    out.mkdir()
    return {
        "spec": {"task": "forecasting", "parameters": {}},
        "device": "cpu",
        "data_dir": str(place.data),
        "model_dir": str(place.model),
        "sha256": digest_files(place.model.iterdir()),
        "out_dir": str(out),
    }


def test_the_child_of_a_cpu_does_without_torch(place: Place, tmp_path: Path) -> None:
    command = [sys.executable, "-c", REQUEST, json.dumps(request(place, tmp_path / "out"))]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert found["torch"] is False
    assert found["last"] == {"type": "done", "metrics": {"instances": 50, "failed": 5}}


def test_the_engine_of_a_gpu_gives_the_same_answers(place: Place, tmp_path: Path) -> None:
    quantiles = place.state["quantiles"]
    features = place.engine.features
    config = ModelConfig(
        Input.VECTORS, Output.QUANTILES, features, HORIZON * len(quantiles), quantiles=tuple(quantiles)
    )
    save(place.model, lively(config), {"state": place.state})
    found = []
    for name, opened in (("onnx", open_onnx), ("torch", open_torch)):
        last = child.work(opened, request(place, tmp_path / name), place.told.append, lambda: False)
        assert last == {"type": "done", "metrics": {"instances": 50, "failed": 5}}
        found.append(lines(joined(tmp_path / name)))
    for one, other in zip(*found, strict=True):
        assert one.get("mean", []) == pytest.approx(other.get("mean", []), rel=1e-4)


def test_a_stopped_child_says_so(place: Place, tmp_path: Path) -> None:
    asked = request(place, tmp_path / "out")
    assert child.work(open_onnx, asked, place.told.append, lambda: True) == {"type": "stopped"}


def test_a_damaged_version_is_told_as_such(place: Place, tmp_path: Path) -> None:
    (place.model / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(DamagedArtifact) as caught:
        child.work(open_onnx, request(place, tmp_path / "out"), place.told.append, lambda: False)
    assert child.explain(caught.value)["code"] == "model_damaged"
    assert child.explain(MemoryError())["code"] == "out_of_memory"
    assert child.explain(NotFound("gone")) == {"type": "failed", "code": "not_found", "message": "gone"}
    assert child.explain(OSError(errno.ENOSPC, "full"))["code"] == "no_space"
    assert child.explain(ValueError("odd"))["message"] == "ValueError: odd"
