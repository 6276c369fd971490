"""Batch prediction of texts: what is decoded step by step or as a path says what a request would be told."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.contract import Example
from app.tasks.source import Faults
from app.typedefs import Json
from tests.support.factories import bilingual, tagged, texts
from tests.support.factories.batches import lines
from tests.support.single import decode_one, encode_one
from workers.artifact.export import save
from workers.batch import predict as batch
from workers.batch.predict import BatchSpec, Predicted, predict
from workers.decoding.scheduler import decode_all
from workers.inference.engines import Engine, open_onnx
from workers.outputs import build
from workers.training.pipeline import model_config

FILES: dict[str, tuple[bytes, Json]] = {
    "generation": (texts.poems(20), {"max_tokens": 12, "top_p": 0.9}),
    "translation": (bilingual.jsonl(bilingual.sentences(60)), {"beam_size": 3, "max_tokens": 9}),
    "tagging": (tagged.to_jsonl(tagged.entities(60)), {}),
}


class Place:
    """A data set of a task, an untrained version of it, and a run over it."""

    def __init__(self, directory: Path, name: str) -> None:
        self.task, self.directory = TASKS[name], directory
        body, self.parameters = FILES[name]
        (directory / "content").write_bytes(body)
        faults = Faults()
        source = open_source(directory / "content", "jsonl", Mapping.checked({}, self.task.columns), faults)
        self.arrays = self.task.read(source, faults).arrays
        plan = self.task.plan(self.arrays, self.task.options(), 0, 20)
        self.state = plan.state
        data = directory / "data"
        data.mkdir()
        np.savez(data / "arrays.npz", **self.arrays)  # type: ignore[arg-type]
        network = {"hidden_size": 8, "embedding_size": 8}
        save(directory / "model", build(model_config(plan, network), 0), {"task": name, "state": plan.state})
        self.engine: Engine = open_onnx(directory / "model", "cpu")

    def run(self, out: str, **spec: Any) -> Predicted:
        (self.directory / out).mkdir(exist_ok=True)
        return predict(
            BatchSpec(self.task.name, **{"parameters": self.parameters, **spec}),
            self.directory / "data",
            self.directory / "model",
            self.directory / out,
            self.engine,
            on=lambda _: None,
            should_stop=lambda: False,
        )

    def lines(self, out: str) -> list[Json]:
        return lines(self.bytes(out))

    def bytes(self, out: str) -> bytes:
        return b"".join(path.read_bytes() for path in sorted((self.directory / out).iterdir()))

    def answer(self, example: Example, parameters: Any) -> Json:
        """What one request would be told."""
        found: Any
        if self.engine.decoder is None:
            found = self.engine.run(example.inputs[None], np.array([len(example.inputs)]))[0]
        else:
            (found,) = decode_all(self.engine.decoder, [example.inputs], [example.decoding or {}])
        answer = decode_one(self.task, self.state, example, found, parameters)
        return dict(json.loads(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)))


@pytest.fixture(scope="module", params=FILES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PART_INSTANCES", 16)


def test_every_line_is_the_answer_to_its_instance(place: Place) -> None:
    seed = {"seed": 0} if place.task.name == "generation" else {}
    parameters = msgspec.convert(place.parameters | seed, place.task.parameters)
    instances = place.task.instances(place.arrays, place.state)
    assert place.run("answers") == Predicted(len(instances), 0, stopped=False)
    found = place.lines("answers")
    assert [line.pop("index") for line in found] == list(range(len(instances)))
    for index, line in enumerate(found):
        example = encode_one(place.task, place.state, instances[index], parameters)
        expected = place.answer(example, parameters)
        if "score" in expected:
            assert line["prediction"].pop("score") == pytest.approx(expected.pop("score"), abs=1e-4)
        assert line == {"prediction": expected}


def test_nothing_is_answered_by_nothing(place: Place) -> None:
    if place.task.name == "generation":
        pytest.skip("a text may begin with nothing")
    parameters = msgspec.convert(place.parameters, place.task.parameters)
    expected: Json = {"text": "", "score": 0.0}
    if place.task.name == "tagging":
        expected = {"tokens": [], "tags": [], "entities": []}
    for text in ("", " \n"):
        instance = msgspec.convert({"text": text}, place.task.instance)
        assert place.answer(encode_one(place.task, place.state, instance, parameters), parameters) == expected


def test_whoever_computes_a_part_again_writes_the_same_bytes(place: Place) -> None:
    place.run("once")
    place.run("twice")
    assert place.bytes("once") == place.bytes("twice")
    place.run("later", parts=1)
    assert place.bytes("once").endswith(place.bytes("later"))


def test_a_seed_that_is_said_is_used(place: Place) -> None:
    if place.task.name != "generation":
        pytest.skip("nothing is left to chance")
    place.run("one", parameters=place.parameters | {"seed": 1})
    place.run("two", parameters=place.parameters | {"seed": 2})
    assert place.bytes("one") != place.bytes("two")
