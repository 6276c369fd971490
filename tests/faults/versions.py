"""Versions of one model in a data directory, and bodies with the output that each version gives for them."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from app.database.engine import Sessions, make_engine, make_sessions
from app.database.migrate import upgrade
from app.database.tables import Job
from app.identifiers import new_id
from app.infrastructure.artifacts import digest_stored
from app.infrastructure.storage import Storage
from app.services.jobs import leases
from app.services.jobs.leases import Lease
from app.services.models.versions import TrainingOutcome
from app.settings import Settings
from benchmarks.serving.requests.corpus import DIGITS, body
from tests.support.factories.networks import lstm, store

MODEL = "net"


@dataclass(frozen=True)
class Network:
    """An LSTM with a linear head."""

    seed: int
    hidden: int = 16
    features: int = 8
    width: int = 4

    def artifact(self, directory: Path) -> Path:
        """The files of a version."""
        facts = {
            "inputs": ["inputs", "lengths", "state"],
            "outputs": ["outputs", "state_out"],
            "features": self.features,
            "width": self.width,
            "state_rows": 2,
            "hidden_size": self.hidden,
            "opset": 18,
            "difference": 0.0,
        }
        model = lstm(self.features, self.hidden, self.width, self.seed)
        return store(directory, model, format=1, task="forecasting", state={}, onnx=facts)


@dataclass(frozen=True)
class Sample:
    """A request's body, and the right output (width,) by version."""

    body: bytes
    outputs: Mapping[int, Sequence[float]]


def publish(data_dir: Path, networks: Sequence[Network]) -> None:
    """Make a data directory in which they are the versions 1, 2, … of `MODEL`."""
    data_dir.mkdir(parents=True, mode=0o700)
    settings = Settings(data_dir=data_dir, database_url="", redis_url="", storage_url="")
    engine = make_engine(settings.database)
    upgrade(engine)
    sessions, storage = make_sessions(engine), Storage(settings.storage)
    with tempfile.TemporaryDirectory() as directory:
        for number, network in enumerate(networks, 1):
            _publish(sessions, storage, network.artifact(Path(directory) / str(number)))
    engine.dispose()


def _publish(sessions: Sessions, storage: Storage, files: Path) -> None:
    job = Job(
        id=new_id("job"),
        kind="train",
        task="forecasting",
        dataset_id=new_id("ds"),
        model=MODEL,
        network={"cell": "lstm"},
        training={},
        options={},
        job_metadata={},
    )
    prefix = f"artifacts/{job.id}/1"
    for path in sorted(files.iterdir()):
        storage.put(f"{prefix}/{path.name}", path)
    sha256 = digest_stored(storage, prefix)
    with sessions.begin() as session:
        session.add(job)
        session.flush()
        leases.claim(session, job.id, "faults", 60)
        leases.succeed(session, Lease(job.id, 1), TrainingOutcome(prefix, 12, 345, sha256, {}, {}))


def samples(networks: Sequence[Network], lengths: Sequence[int], seed: int) -> list[Sample]:
    """A random body of each length; all networks take as many features."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as directory:
        graphs = [network.artifact(Path(directory) / str(n)) for n, network in enumerate(networks)]
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        sessions = [ort.InferenceSession(graph / "model.onnx", options) for graph in graphs]
    made = []
    for steps in lengths:
        values = rng.normal(0, 1, (steps, networks[0].features)).round(DIGITS).astype(np.float32)
        outputs = {}
        for version, (network, session) in enumerate(zip(networks, sessions, strict=True), 1):
            feed = {
                "inputs": values[None],  # (1, time, features)
                "lengths": np.array([steps], np.int64),
                "state": np.zeros((2, 1, network.hidden), np.float32),
            }
            outputs[version] = session.run(["outputs"], feed)[0][0].tolist()
        made.append(Sample(body(values), outputs))
    return made
