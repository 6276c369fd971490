"""A ninth task is one file: nothing else of the house is edited for it to be read, trained and asked."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
USE = """
import json, sys
from pathlib import Path
import msgspec, numpy as np
from app.hyperparameters.options import NETWORK
from app.hyperparameters.options import TRAINING
from app.ingest.child import ingest
from app.services.jobs.submission import check_options
from app.tasks import TASKS
from workers.inference.engines import open_onnx
from workers.training.run import TrainSpec
from workers.training.run import train

here, task = Path(sys.argv[1]), TASKS["ninth"]
spec = {"path": str(here / "content"), "format": "jsonl", "columns": {}, "out": str(here), "task": task.name}
answer = ingest(spec, task)
assert answer["ok"], answer
options = check_options(task, {})
assert task.check(answer["summary"], options) == []
defaults = task.defaults(answer["summary"], options)
training = TRAINING | defaults.training | {"device": "cpu", "epochs": 8, "batch_size": 16}
spec = TrainSpec(task.name, NETWORK | defaults.network, training, options.model_dump())
outcome = train(spec, here, here / "out", on=lambda _: None, should_stop=lambda: False)
manifest = json.loads((here / "out" / "manifest.json").read_text())
state, engine = manifest["state"], open_onnx(here / "out", "cpu")
said = []
for numbers in ([3.0, 2.0], [-1.0, -2.0, -3.0]):
    instance = msgspec.convert({"numbers": numbers}, task.instance)
    example = task.encode(state, instance, task.parameters())
    outputs = engine.run(example.inputs[None], np.array([len(example.inputs)]))
    said.append(task.decode(state, example, outputs[0], task.parameters())["probability"])
print(json.dumps({"metrics": outcome.metrics, "baseline": outcome.baseline, "said": said}))
"""


def test_one_file_is_enough(tmp_path: Path) -> None:
    house = tmp_path / "house"
    for part in ("app", "workers"):
        shutil.copytree(ROOT / part, house / part, ignore=shutil.ignore_patterns("__pycache__"))
    package = house / "app" / "tasks" / "ninth"
    package.mkdir()
    shutil.copy(Path(__file__).with_name("ninth.py"), package / "task.py")
    (package / "__init__.py").write_text("from app.tasks.ninth.task import TASK\n\n__all__ = ['TASK']\n")
    rng, data = np.random.default_rng(0), tmp_path / "data"
    data.mkdir()
    rows = [{"numbers": rng.normal(size=int(rng.integers(2, 9))).round(3).tolist()} for _ in range(300)]
    (data / "content").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-c", USE, str(data)]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["metrics"]["accuracy"] > found["baseline"]["accuracy"] + 0.1
    assert found["said"][0] > 0.5 > found["said"][1]
