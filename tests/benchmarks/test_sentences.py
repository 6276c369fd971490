"""Models of text for the benchmark: made from a slice, asked about other sentences, expected rightly."""

import json
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

from app.tasks import TASKS
from benchmarks.serving.generator.echo import answer
from benchmarks.serving.generator.messages import load_corpus
from benchmarks.serving.generator.verification import right
from benchmarks.serving.peers.same_work.work import Work
from benchmarks.serving.requests.reader import reply
from benchmarks.serving.requests.sentences import ROWS, describe, make, sentence, telling
from benchmarks.serving.requests.versions import Made, Row, thinned
from tests.benchmarks.peers import ask_peer
from tests.support.factories.tagged import entities, to_jsonl
from tests.support.single import decode_one, encode_one
from workers.inference.engines import open_onnx

MARKS = ["train", "train", "valid", "test"] * 30
MOODS = {"pos": ("warm", "bright", "a joy"), "neg": ("cold", "grey", "a bore")}


def reviews() -> bytes:
    """Sentences that all differ, of two moods."""
    lines = []
    for number, mark in enumerate(MARKS):
        label = "pos" if number % 3 else "neg"
        text = f"Film {number} is {MOODS[label][number % 2]} and {MOODS[label][2]}" + " indeed" * (number % 7)
        lines.append(orjson.dumps({"text": text, "label": label, "split": mark}))
    return b"\n".join(lines)


@pytest.fixture(scope="module", params=["classification", "tagging"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp(request.param)
    data = directory / "data.jsonl"
    data.write_bytes(reviews() if request.param == "classification" else to_jsonl(entities(120), MARKS))
    return make(Row("small", request.param, "small", 50, 2), data, directory / "made")


def test_each_answer_is_the_one_of_the_service_path(made: Made) -> None:
    """The same through the predictor's engine, all requests padded in one batch."""
    task, engine = TASKS[made.row.task], open_onnx(made.artifact, "cpu")
    state = json.loads((made.artifact / "manifest.json").read_bytes())["state"]
    parameters = task.parameters()
    told = [orjson.loads(body)["instances"][0] for body in made.corpus.bodies]
    examples = [encode_one(task, state, msgspec.convert(one, task.instance), parameters) for one in told]
    lengths = np.array([len(one.inputs) for one in examples])
    inputs = np.zeros((len(examples), lengths.max(), examples[0].inputs.shape[1]), np.int64)
    for row, one in zip(inputs, examples, strict=True):
        row[: len(one.inputs)] = one.inputs
    outputs = engine.run(inputs, lengths)
    assert made.corpus.steps == lengths.tolist()
    for number, (example, length) in enumerate(zip(examples, lengths, strict=True)):
        own = outputs[number][:length] if made.row.task == "tagging" else outputs[number]
        prediction = decode_one(task, state, example, own, parameters)
        body = orjson.dumps({"predictions": [prediction]}, option=orjson.OPT_SERIALIZE_NUMPY)
        assert right(body, made.corpus.outputs[number])


def test_requests_differ_and_were_not_learned_from(made: Made) -> None:
    bodies = made.corpus.bodies
    assert len(set(bodies)) == len(bodies) > 20
    assert len(set(made.corpus.steps)) > 3
    learned = (made.artifact.parent / "slice.jsonl").read_bytes().splitlines()
    lines = [orjson.loads(line) for line in learned]
    trained = {sentence(line) for line in lines if line["split"] == "train"}
    if made.row.task == "classification":
        assert {orjson.loads(body)["instances"][0]["text"] for body in bodies}.isdisjoint(trained)
    assert len(trained) <= made.row.examples


def test_a_wrong_request_s_answer_is_noticed(made: Made) -> None:
    first, *others = made.corpus.outputs
    assert any(not right(answer(one).partition(b"\r\n\r\n")[2], first) for one in others)
    assert right(answer(first).partition(b"\r\n\r\n")[2], first)


def test_a_corpus_goes_through_a_file(made: Made, tmp_path: Path) -> None:
    assert load_corpus(made.corpus.save(tmp_path / "corpus")) == made.corpus


def test_the_peer_answers_rightly(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = ask_peer("text_app", made, monkeypatch)
    for answered, expected in zip(replies, made.corpus.outputs, strict=True):
        assert answered.status_code == 200
        assert right(answered.content, expected)


def test_a_batch_of_the_same_work_answers_as_each_alone(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_MODEL", str(made.artifact / "model.onnx"))
    work = Work()
    predictions = work.predict([work.parse(body) for body in made.corpus.bodies])
    for prediction, expected in zip(predictions, made.corpus.outputs, strict=True):
        assert right(reply(prediction), expected)


def test_it_tells_what_is_asked(made: Made) -> None:
    line = describe(made)
    assert line.startswith(f"small (small, {made.parameters:,} parameters): {len(made.corpus.steps)} sent")
    assert f"{min(made.corpus.steps)} to {max(made.corpus.steps)}" in line
    assert ("with an entity" in line) == (made.row.task == "tagging")


def test_a_slice_is_taken_evenly() -> None:
    assert thinned(list(range(10)), 4) == [0, 2, 5, 7]
    assert thinned([1, 2], 4) == [1, 2]
    assert thinned([], 4) == []


def test_sentences_without_entities_are_not_learned_from() -> None:
    assert not telling({"tokens": ["a"], "tags": ["O"]})
    assert telling({"tokens": ["a"], "tags": ["B-x"]})
    assert telling({"text": "a", "label": "b"})
    assert sentence({"tokens": ["It", "'s"], "tags": ["O", "O"]}) == "It 's"


def test_without_the_data_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nowhere\.jsonl is not on this machine"):
        make(ROWS[0], tmp_path / "nowhere.jsonl", tmp_path / "made")
