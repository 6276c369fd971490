"""The client against a whole service, with real recordings, clips and pieces: files in, answers out."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mido
import pandas as pd
import pytest

import app
from recurra import Client, Dataset, InvalidInput, InvalidRequest, LabelPrediction, MusicPiece, Transcript
from tests.support.fixtures.stack import Stack

SAMPLES = Path(app.__file__).parent / "samples"
TRAINING = {"epochs": 1, "batch_size": 4}
SMALL = {"hidden_size": 16}

Files = tuple[list[Path], list[dict[str, Any]]]  # as they lie in a directory, and their lines of the manifest
Unpack = Callable[..., Files]


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[Client]:
    with Client(str(stack.http.base_url)) as made:
        yield made


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    """Some files of a sample archive, as a user has them: on disk, without a manifest."""

    def files(name: str, field: str, keep: Callable[[dict[str, Any]], bool], count: int) -> Files:
        with zipfile.ZipFile(SAMPLES / name) as archive:
            lines = [json.loads(line) for line in archive.read("manifest.jsonl").decode().splitlines()]
            chosen = [line for line in lines if keep(line)][:count]
            paths = [Path(archive.extract(line[field], tmp_path)) for line in chosen]
        return paths, chosen

    return files


def test_recordings_are_transcribed(client: Client, unpack: Unpack, tmp_path: Path) -> None:
    paths, lines = unpack("speech_russian_prompts.zip", "audio", lambda line: True, 12)
    texts = [line["text"] for line in lines]
    model = client.train(
        paths, texts, task="speech", model="py-words", training=TRAINING, network=SMALL, progress=False
    )
    one = model.predict(paths[0])
    assert isinstance(one, Transcript)
    assert one.duration_seconds > 0.1
    assert [word["word"] for word in one.words] == one.text.split()
    assert model.predict([str(paths[0]), paths[0].read_bytes()]) == [one, one]
    frame = pd.DataFrame({"clip": map(str, paths[:2]), "said": texts[:2]})
    table = model.predict(frame, audio="clip")
    assert list(table.columns) == ["clip", "said", "prediction"]
    assert table["prediction"].tolist()[0] == one.text
    evaluation = model.evaluate(paths[:2], texts[:2], progress=False)  # too few to train on
    assert "wer" in evaluation.versions[1]
    (tmp_path / "noise.wav").write_bytes(b"RIFF and nothing more")
    with pytest.raises(InvalidRequest, match="/instances/1"):
        model.predict([paths[0], tmp_path / "noise.wav"])


def test_clips_get_labels(client: Client, unpack: Unpack) -> None:
    first_takes = re.compile(r"clips/a(03|27)_s._t1\.mp4")  # of two actions, by six people
    paths, lines = unpack(
        "video_actions_depth.zip", "video", lambda line: bool(first_takes.fullmatch(line["video"])), 12
    )
    labels = [line["label"] for line in lines]
    frame = pd.DataFrame({"file": map(str, paths), "action": labels})
    dataset = client.add_dataset(frame, task="video", video="file", label="action", progress=False)
    assert isinstance(dataset, Dataset)
    assert dataset.summary["labels"] == {"wave": labels.count("wave"), "squat": labels.count("squat")}
    model = client.train(
        dataset, task="video", model="py-moves", training=TRAINING, network=SMALL, progress=False
    )
    one = model.predict(paths[0])
    assert isinstance(one, LabelPrediction)
    assert set(one.scores) == {"wave", "squat"}
    assert sum(one.scores.values()) == pytest.approx(1, abs=1e-3)
    first, _ = model.predict(paths[:2], top_k=1)
    assert (first.label, len(first.scores)) == (one.label, 1)
    with pytest.raises(InvalidInput, match="needs a file"):
        model.predict()


def test_music_is_composed_and_goes_on(client: Client, unpack: Unpack, tmp_path: Path) -> None:
    paths, _ = unpack("bach_chorales.zip", "midi", lambda line: True, 6)
    model = client.train(
        paths, task="music", model="py-chorales", training=TRAINING, network=SMALL, progress=False
    )
    piece = model.predict(seconds=2, seed=7)
    assert isinstance(piece, MusicPiece)
    saved = piece.save(tmp_path / "piece.mid")
    assert mido.MidiFile(saved).length == pytest.approx(2, abs=1)
    assert model.predict(seconds=2, seed=7).midi == piece.midi
    longer = model.predict(paths[0], seconds=1, seed=7)
    assert isinstance(longer, MusicPiece)
    assert len(longer.midi) > 50
    pieces = list(model.stream(seconds=1, seed=7))
    assert pieces[-1].finish_reason is not None
