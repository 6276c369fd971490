"""Untrained models of language as artifacts: of text, of translations, of tags, of music."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from app.database.tables import Job
from app.identifiers import new_id
from app.infrastructure.artifacts import digest_stored
from app.media.limits import MediaLimits
from app.media.midi import decode_midi
from app.services.jobs import leases
from app.services.jobs.leases import Lease
from app.services.models.versions import TrainingOutcome
from app.tasks.contract import Input, Output
from app.tasks.music.codings.pieces import Coding
from app.tasks.music.codings.selection import coding_to_json, fit_coding
from app.tasks.music.reading import piece_of
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import TokenUnit
from app.typedefs import Json
from tests.support.factories import music
from tests.support.factories.texts import verses
from tests.support.fakes.predictors import running_predictor as serving
from tests.support.fixtures.service import Service
from workers.artifact.export import save
from workers.nn import ModelConfig
from workers.outputs import build
from workers.serving.processes import PredictorProcess
from workers.serving.spec import PredictorSpec

TAGS = 3


def tokeniser() -> str:
    """Characters of a few verses."""
    return tokenizers.train_tokenizer([verses()], TokenUnit.CHARACTER, 100, spaced=True)


def speaker(directory: Path, seed: int = 0, **network: Any) -> Json:
    """Store a model that completes prompts in `directory`; returns its state."""
    state = {"tokeniser": tokeniser(), "unit": "character"}
    size = tokenizers.vocabulary_size(state["tokeniser"])
    config = ModelConfig(
        Input.TOKENS,
        Output.NEXT_TOKEN,
        1,
        size,
        **{"hidden_size": 16, "embedding_size": 8, "vocabularies": (size,), **network},
    )
    save(directory, build(config, seed), {"task": "generation", "state": state})
    return state


def composer(directory: Path, seed: int = 0) -> Coding:
    """Store a model that writes pieces of four voices in `directory`; returns its coding."""
    pieces = [piece_of(decode_midi(music.chorale(number), MediaLimits())) for number in range(3)]
    coding = fit_coding(pieces, None, None)
    config = ModelConfig(
        Input.TOKENS,
        Output.NEXT_TOKEN,
        1,
        coding.size,
        hidden_size=16,
        embedding_size=8,
        vocabularies=(coding.size,),
    )
    save(directory, build(config, seed), {"task": "music", "state": {"coding": coding_to_json(coding)}})
    return coding


def translator(directory: Path, seed: int = 0) -> ModelConfig:
    """Store a model from sequences to sequences in `directory`."""
    config = ModelConfig(
        Input.TOKENS,
        Output.SEQUENCE,
        1,
        12,
        hidden_size=16,
        embedding_size=8,
        bidirectional=True,
        vocabularies=(14,),
    )
    save(directory, build(config, seed), {"task": "translation", "state": {}})
    return config


def tagger(directory: Path, seed: int = 0, *, crf: bool = True) -> ModelConfig:
    """Store a model that tags each token in `directory`."""
    config = ModelConfig(
        Input.TOKENS,
        Output.LABELS,
        2,
        TAGS,
        hidden_size=8,
        embedding_size=8,
        bidirectional=True,
        vocabularies=(14, 5),
        crf=crf,
        forbidden=((0, 1), (TAGS, 2)) if crf else (),
    )
    save(directory, build(config, seed), {"task": "tagging", "state": {}})
    return config


def sequences(lengths: list[int], columns: tuple[int, ...] = (14, 5), seed: int = 0) -> list[Any]:
    """Random tokens, each (time, columns)."""
    rng = np.random.default_rng(seed)
    return [
        np.stack([rng.integers(1, size, steps) for size in columns], axis=1).astype(np.int64)
        for steps in lengths
    ]


def events(stream: bytes) -> list[tuple[str, Any]]:
    """Server-sent events as names and JSON."""
    parsed = []
    for block in stream.decode().split("\n\n")[:-1]:
        name, data = "message", ""
        for line in block.split("\n"):
            kind, _, value = line.partition(": ")
            name, data = (value, data) if kind == "event" else (name, value)
        parsed.append((name, data if data == "[DONE]" else json.loads(data)))
    return parsed


def publish(running: Service, directory: Path, model: str, task: str) -> int:
    """Publish the artifact in `directory` as a finished job does; returns the version."""
    job = Job(
        id=new_id("job"),
        kind="train",
        task=task,
        dataset_id=new_id("ds"),
        model=model,
        network={},
        training={},
        options={},
        job_metadata={},
    )
    with running.state.sessions.begin() as session:
        session.add(job)
        session.flush()
        leases.claim(session, job.id, "worker_test", 60)
        lease = Lease(job.id, 1)
        prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
        for path in sorted(directory.iterdir()):
            running.state.storage.put(f"{prefix}/{path.name}", path)
        sha256 = digest_stored(running.state.storage, prefix)
        version = leases.succeed(session, lease, TrainingOutcome(prefix, 12, 345, sha256, {}, {}))
    assert version is not None
    return version


@contextmanager
def speaking(running: Service, directory: Path) -> Iterator[PredictorProcess]:
    """A predictor that serves the service's lane."""
    settings = running.settings
    spec = PredictorSpec(
        settings.redis, settings.storage, str(directory / "cache"), f"{settings.lane}:0", lane=settings.lane
    )
    with serving(spec) as process:
        yield process
