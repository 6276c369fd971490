"""A ninth task of a new modality is one package: no other file is edited to read, train and ask it."""

import base64
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
USE = """
import json, sys
from pathlib import Path
import msgspec, numpy as np
from app.api.routes.service import tasks
from app.hyperparameters.options import NETWORK
from app.hyperparameters.options import TRAINING
from app.ingest.child import read_upload
from app.services.jobs.submission import check_options
from app.tasks import TASKS
from app.infrastructure.stored_arrays import map_arrays
from app.infrastructure.stored_arrays import unpack
from workers.batch.predict import BatchSpec
from workers.batch.predict import predict
from workers.inference.engines import open_onnx
from workers.inference.engines import unpadded
from workers.training.run import train
from workers.training.stages import TrainSpec

here, task = Path(sys.argv[1]), TASKS["ninth"]
upload = {
    "path": str(here / "content"), "format": "zip", "columns": {}, "out": str(here), "task": task.name,
    "archive_limits": {},
}
answer = read_upload(upload, task)
assert answer["ok"], answer
options = check_options(task, {})
assert task.check(answer["summary"], options) == []
defaults = task.defaults(answer["summary"], options)
training = TRAINING | defaults.training | {"device": "cpu", "epochs": 25, "batch_size": 16}
spec = TrainSpec(task.name, NETWORK | defaults.network, training, options.model_dump())
outcome = train(spec, here, here / "out", on=lambda _: None, should_stop=lambda: False)
state = json.loads((here / "out" / "manifest.json").read_text())["state"]
engine = open_onnx(here / "out", "cpu")
instance = msgspec.json.decode(sys.stdin.read(), type=task.instance)
(example,) = task.encode(state, [instance], task.parameters())
lengths = np.array([len(example.inputs)])
(outputs,) = unpadded(engine, engine.run(example.inputs[None], lengths), lengths)
(here / "parts").mkdir()
batch = predict(
    BatchSpec(task.name, {}), here, here / "out", here / "parts", engine,
    on=lambda _: None, should_stop=lambda: False,
)
print(json.dumps({
    "metrics": outcome.metrics, "baseline": outcome.baseline, "warnings": answer["warnings"],
    "notes": task.decode(state, [example], [outputs], task.parameters())[0]["notes"],
    "batch": [batch.instances, batch.failed],
    "described": [one["name"] for one in json.loads(tasks().body)["data"]],
}))
"""
FRAME, NOTES = 4, "abc"


def whistle(notes: str, rng: np.random.Generator) -> bytes:
    """Raw samples: each note is a pattern of four samples for some frames, with noise and pauses between."""
    patterns = {"a": [1, 1, 1, 1], "b": [1, -1, 1, -1], "c": [1, 1, -1, -1]}
    frames = [[0, 0, 0, 0]]
    for note in notes:
        frames += [patterns[note]] * int(rng.integers(4, 8)) + [[0, 0, 0, 0]] * int(rng.integers(2, 5))
    return bytes((np.array(frames, "<f4") + rng.normal(0, 0.1, (len(frames), FRAME))).astype("<f4").tobytes())


def archive(path: Path, rng: np.random.Generator) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        lines = []
        for number in range(240):
            notes = "".join(rng.choice(list(NOTES), int(rng.integers(1, 4))))
            packed.writestr(f"audio/{number}.raw", whistle(notes, rng))
            lines.append(json.dumps({"recording": f"audio/{number}.raw", "notes": notes}))
        packed.writestr("audio/stray.raw", b"")
        packed.writestr("manifest.jsonl", "\n".join(lines))


def test_one_package_is_enough(tmp_path: Path) -> None:
    copy, data = tmp_path / "copy", tmp_path / "data"
    for part in ("app", "workers"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    package = copy / "app" / "tasks" / "ninth"
    package.mkdir()
    shutil.copy(Path(__file__).with_name("ninth.py"), package / "task.py")
    (package / "__init__.py").write_text('from app.tasks.ninth.task import TASK\n\n__all__ = ["TASK"]\n')
    data.mkdir()
    rng = np.random.default_rng(0)
    archive(data / "content", rng)
    request = json.dumps({"samples": base64.b64encode(whistle("abca", rng)).decode()})
    done = subprocess.run(
        [sys.executable, "-c", USE, str(data)],
        input=request, cwd=copy, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["metrics"]["exact"] > result["baseline"]["exact"] + 0.4
    assert result["notes"] == "abca"
    assert result["batch"] == [240, 0]
    assert result["warnings"] == ["The member audio/stray.raw is in no line of the manifest."]
    assert "ninth" in result["described"]
