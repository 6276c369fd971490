"""Texts, tokens, pairs and files on their way to the service and back."""

import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recurra.errors import InvalidInput, Json
from recurra.results import LabelPrediction, MusicPiece
from recurra.tasks import TASKS, task_named
from recurra.tasks.contract import Schema
from recurra.workflows import MAX_REQUEST_INSTANCES, count_cells, divided, split_settings

SCHEMA = Schema({"options": {}}, None)


def lines(task: str, data: Any, answers: Any, folder: Path, **columns: str) -> list[Json]:
    file = TASKS[task].write(data, answers, columns, folder)
    assert file.format == "jsonl"
    return [json.loads(line) for line in file.path.read_text().splitlines()]


def instances(task: str, data: Any, **columns: str) -> list[Json]:
    return list(TASKS[task].inputs(data, columns, SCHEMA, {}).instances)


@pytest.mark.parametrize(
    ("task", "data", "answers", "expected"),
    [
        ("classification", ["a", "b"], ["x", "y"],
         [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]),
        ("classification", pd.Series(["a"]), pd.Series([1]), [{"text": "a", "label": 1}]),
        ("classification", np.ones((2, 1, 2)), ["x", "y"],
         [{"values": [[1.0, 1.0]], "label": "x"}, {"values": [[1.0, 1.0]], "label": "y"}]),
        ("tagging", [["a", "b"]], [["O", "B-x"]], [{"tokens": ["a", "b"], "tags": ["O", "B-x"]}]),
        ("generation", "A long text", None, [{"text": "A long text"}]),
        ("generation", ["a", "b"], None, [{"text": "a"}, {"text": "b"}]),
        ("translation", ["a"], ["b"], [{"source": "a", "target": "b"}]),
        ("translation", [("a", "b"), ("c", "d")], None,
         [{"source": "a", "target": "b"}, {"source": "c", "target": "d"}]),
        ("tagging", [["a"]], None, [{"tokens": ["a"]}]),
        ("classification", [{"text": "a", "label": "x", "split": "test"}], None,
         [{"text": "a", "label": "x", "split": "test"}]),
    ],
)  # fmt: skip
def test_lists_are_lines(task: str, data: Any, answers: Any, expected: list[Json], tmp_path: Path) -> None:
    assert lines(task, data, answers, tmp_path) == expected


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_a_frame_keeps_its_names(make: Any, tmp_path: Path) -> None:
    frame = make({"review": ["good", "bad"], "mood": ["pos", None], "other": [1, 2]})
    file = TASKS["classification"].write(frame, None, {"text": "review", "label": "mood"}, tmp_path)
    assert file.columns == {"text": "review", "label": "mood"}
    assert [json.loads(line) for line in file.path.read_text().splitlines()] == [
        {"review": "good", "mood": "pos"}, {"review": "bad"},
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="no column text; name it with text="):
        TASKS["classification"].write(frame, None, {}, tmp_path)


def test_tokens_of_a_frame_are_lists(tmp_path: Path) -> None:
    frame = pd.DataFrame({"tokens": [["a", "b"], np.array(["c"])], "tags": [["O", "O"], ["O"]]})
    assert lines("tagging", frame, None, tmp_path)[1] == {"tokens": ["c"], "tags": ["O"]}


def test_answers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="2 examples and 1 answers"):
        lines("classification", ["a", "b"], ["x"], tmp_path)
    with pytest.raises(InvalidInput, match="without answers"):
        lines("generation", ["a"], ["x"], tmp_path)
    with pytest.raises(InvalidInput, match="a column of it"):
        lines("classification", pd.DataFrame({"text": ["a"]}), ["x"], tmp_path)
    for task in ("classification", "forecasting"):
        with pytest.raises(InvalidInput, match=r"there is no file missing\.csv"):
            TASKS[task].write("missing.csv", None, {}, tmp_path)
    with pytest.raises(InvalidInput, match="example 0 cannot be written as JSON"):
        lines("classification", [[[float("nan")]]], ["x"], tmp_path)


def test_instances_have_the_fields_of_their_task() -> None:
    assert instances("classification", ["a", [[1.0], [2.0]]]) == [{"text": "a"}, {"values": [[1.0], [2.0]]}]
    assert instances("tagging", ["a b", ["a", "b"]]) == [{"text": "a b"}, {"tokens": ["a", "b"]}]
    assert instances("generation", "Once") == [{"prompt": "Once"}]
    assert instances("translation", "Good day") == [{"text": "Good day"}]
    assert instances("classification", pd.DataFrame({"t": ["a"]}), text="t") == [{"text": "a"}]
    assert instances("music", None) == [{}]
    assert instances("anything", [{"a": 1}]) if "anything" in TASKS else True
    for task in ("classification", "speech"):
        with pytest.raises(InvalidInput, match="needs"):
            instances(task, None)


def test_one_instance_has_one_answer_and_a_frame_a_frame() -> None:
    task, answer = TASKS["classification"], {"label": "pos", "scores": {"pos": 0.9, "neg": 0.1}}
    one = task.inputs("a", {}, SCHEMA, {}).finish([answer])
    assert one == LabelPrediction("pos", {"pos": 0.9, "neg": 0.1}, answer)
    assert task.inputs(["a"], {}, SCHEMA, {}).finish([answer]) == [one]
    for make in (pd.DataFrame, pl.DataFrame):
        table = task.inputs(make({"text": ["a"], "id": [3]}), {}, SCHEMA, {}).finish([answer])
        assert list(table.columns) == ["text", "id", "prediction", "probability"]
        assert (table["prediction"].to_list(), table["probability"].to_list()) == (["pos"], [0.9])


def test_files_become_an_archive_with_a_manifest(tmp_path: Path) -> None:
    paths = [tmp_path / "one" / "a.wav", tmp_path / "two" / "a.wav"]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        path.write_bytes(b"RIFF%d" % number)
    file = TASKS["speech"].write([*paths, b"RIFF2"], ["x", "y", "z"], {}, tmp_path)
    content = file.path.read_bytes()
    with zipfile.ZipFile(file.path) as archive:
        manifest = [json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
        assert [line["text"] for line in manifest] == ["x", "y", "z"]
        assert [archive.read(line["audio"]) for line in manifest] == [b"RIFF0", b"RIFF1", b"RIFF2"]
    assert (
        TASKS["speech"].write([*map(str, paths), b"RIFF2"], ["x", "y", "z"], {}, tmp_path).path.read_bytes()
        == content
    )
    frame = pl.DataFrame({"clip": [str(paths[0])], "label": ["run"]})
    made = TASKS["video"].write(frame, None, {"video": "clip"}, tmp_path)
    with zipfile.ZipFile(made.path) as archive:
        assert json.loads(archive.read("manifest.jsonl"))["label"] == "run"
    assert instances("speech", paths[0]) == [{"audio_base64": base64.b64encode(b"RIFF0").decode()}]
    with pytest.raises(InvalidInput, match=r"missing\.wav cannot be read"):
        instances("speech", [tmp_path / "missing.wav"])


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_files_named_in_a_frame_are_answered_in_it(library: Any, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"clip")
    frame = library({"file": [str(tmp_path / "a.mp4")] * 2, "id": [1, 2]})
    made = TASKS["video"].inputs(frame, {"video": "file"}, SCHEMA, {})
    answer = {"label": "jog", "scores": {"jog": 0.75, "clap": 0.25}}
    table = made.finish([answer, answer])
    assert list(table.columns) == ["file", "id", "prediction", "probability"]
    assert table["prediction"].to_list() == ["jog", "jog"]
    assert table["probability"].to_list() == [0.75, 0.75]
    with pytest.raises(InvalidInput, match="no column video; name it with video="):
        TASKS["video"].inputs(frame, {}, SCHEMA, {})


def test_a_piece_of_music_is_saved(tmp_path: Path) -> None:
    answer = {"midi_base64": "TVRoZA==", "notes": [], "statistics": {"notes": 0}}
    piece = TASKS["music"].inputs(None, {}, SCHEMA, {}).finish([answer])
    assert isinstance(piece, MusicPiece)
    assert piece.save(tmp_path / "a.mid").read_bytes() == b"MThd"


def test_a_task_that_is_not_known_takes_json(tmp_path: Path) -> None:
    task = task_named("reversal")
    assert task.inputs([{"a": 1}], {}, SCHEMA, {}).finish([{"b": 2}]) == [{"b": 2}]
    with pytest.raises(InvalidInput, match="a file's path"):
        task.write([1], None, {}, tmp_path)


def test_roles_are_columns_and_the_rest_are_options() -> None:
    settings = {"time": "date", "horizon": 14, "target": "sales"}
    assert split_settings(TASKS["forecasting"], {"unique_id": "id"}, settings) == (
        {"unique_id": "id", "ds": "date", "y": "sales"}, {"horizon": 14},
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="tine is no role"):
        split_settings(TASKS["forecasting"], None, {"tine": "date"}, strict=True)


def test_large_requests_are_divided() -> None:
    assert [len(part) for part in divided([{}] * 2500)] == [MAX_REQUEST_INSTANCES, MAX_REQUEST_INSTANCES, 452]
    assert [len(part) for part in divided([{"values": [0.0] * 600_000}] * 3)] == [1, 1, 1]
    assert list(divided([])) == [[]]
    assert count_cells({"a": [1, None, "x"], "b": "y" * 160}) == 14
