"""A file of examples becomes instances, whatever it says beyond them."""

import bz2
import gzip
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.cli.demo.run import SAMPLES
from app.cli.instances import as_instance, read_instances
from app.tasks import TASKS
from recurra import InvalidInput
from tests.support.factories.clips import archive


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("task", "sample"),
    [
        ("generation", "shakespeare.jsonl"),
        ("translation", "bible_en_es.jsonl"),
        ("tagging", "wnut16_ner.jsonl"),
        ("classification", "movie_snippets.jsonl"),
    ],
)
def test_a_data_set_is_good_for_predicting_too(task: str, sample: str) -> None:
    instances = read_instances(SAMPLES / sample, task, {})["instances"]
    assert len(instances) == len((SAMPLES / sample).read_text().splitlines())
    for instance in instances[:20]:
        msgspec.convert(instance, TASKS[task].instance)  # which forbids unknown fields


DAYS = [{"text": "Good day"}, {"text": "Good night"}]
PAIRS = "source\ttarget\nGood day\tBuenos días\nGood night\tBuenas noches\n"
TAGGED = "New B-place\nYork I-place\n\nHi O\n"


@pytest.mark.parametrize(
    ("task", "name", "text", "expected"),
    [
        ("translation", "a.tsv", PAIRS, DAYS),
        ("translation", "a.tsv", "source\nGood day\nGood night\n", DAYS),
        ("translation", "a.txt", "Good day\nGood night", DAYS),
        ("translation", "a.txt", "Good day\n\nGood night\n", [DAYS[0], {"text": ""}, DAYS[1]]),
        ("translation", "a.txt", "\n\nGood day\n\n", [{"text": ""}, {"text": ""}, DAYS[0], {"text": ""}]),
        ("generation", "a.txt", "ROMEO.\nWhat,\n", [{"prompt": "ROMEO.\nWhat,\n"}]),
        (
            "generation",
            "a.jsonl",
            '{"prompt": "a"}\n{"text": "b", "split": "test"}\n',
            [{"prompt": "a"}, {"prompt": "b"}],
        ),
        ("classification", "a.csv", 'text,label\n"good, really",pos\n', [{"text": "good, really"}]),
        ("tagging", "a.conllu", "1-2\tIm\t_\n1\tIn\tX\n2\tdem\tY\n", [{"tokens": ["In", "dem"]}]),
        ("tagging", "a.conll", "New\nYork\n\nHi\n", [{"tokens": ["New", "York"]}, {"tokens": ["Hi"]}]),
        ("classification", "a.csv", '{"text": "a"}\n', [{"text": "a"}]),
        ("classification", "a.csv", "Text,Label\na,x\n", [{"text": "a"}]),
        ("classification", "a.csv", "sep=;\ntext;label\ngood, really;pos\n", [{"text": "good, really"}]),
        (
            "forecasting",
            "a.jsonl",
            '{"ds": "2024-01-01", "y": 1}\n{"ds": "2024-01-02", "y": null}\n{"ds": "2024-01-03", "y": 3}\n',
            [{"item_id": "series", "start": "2024-01-01", "freq": "D", "values": [1, None, 3]}],
        ),
        ("tagging", "a.conll", TAGGED, [{"tokens": ["New", "York"]}, {"tokens": ["Hi"]}]),
        ("tagging", "a.json", '[{"text": "In New York"}]', [{"text": "In New York"}]),
        (
            "forecasting",
            "a.csv",
            "ds,y\n2024-01-01,1\n2024-01-02,2\n",
            [{"item_id": "series", "start": "2024-01-01", "freq": "D", "values": [1, 2]}],
        ),
        ("forecasting", "a.jsonl", '{"item_id": "a", "target": [1]}', [{"item_id": "a", "values": [1]}]),
    ],
)
def test_each_form_is_read(
    tmp_path: Path, task: str, name: str, text: str, expected: list[dict[str, Any]]
) -> None:
    assert read_instances(write(tmp_path / name, text), task, {})["instances"] == expected


@pytest.mark.parametrize(
    ("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("", gzip.compress)]
)
def test_a_compressed_file_is_unpacked(tmp_path: Path, suffix: str, compress: Any) -> None:
    (tmp_path / f"a.tsv.{suffix}").write_bytes(compress(PAIRS.encode()))
    (tmp_path / f"b.jsonl.{suffix}").write_bytes(compress(b'{"text": "Good day"}\n{"text": "Good night"}\n'))
    names = [f"a.tsv.{suffix}", f"b.jsonl.{suffix}"] if suffix else [f"b.jsonl.{suffix}"]
    for name in names:
        assert read_instances(tmp_path / name, "translation", {})["instances"] == DAYS


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize(
    ("task", "content", "expected"),
    [
        ("video", b"\0\0\0 ftypisom", [{"video_base64": "AAAAIGZ0eXBpc29t"}]),
        ("music", b"MThd", [{"midi_base64": "TVRoZA=="}]),
        ("speech", b"RIFF", [{"audio_base64": "UklGRg=="}]),
        ("music", b"{}", [{}]),
        ("translation", PAIRS.encode(), DAYS),
        ("translation", b'{"text": "Good day"}\n{"text": "Good night"}\n', DAYS),
        ("generation", b"Once upon", [{"prompt": "Once upon"}]),
    ],
)
def test_standard_input_may_be_what_a_file_is(
    monkeypatch: pytest.MonkeyPatch, pack: Any, task: str, content: bytes, expected: Any
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(pack(content))))
    assert read_instances(Path("-"), task, {}) == {"instances": expected}


def test_an_archive_may_be_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive({"a": b"AAA"}, [{"video": "a", "label": "x"}])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert read_instances(Path("-"), "video", {}) == {"instances": [{"video_base64": "QUFB"}]}


def test_text_that_is_not_utf8_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "\xff"}')))
    with pytest.raises(InvalidInput, match="standard input is not UTF-8"):
        read_instances(Path("-"), "translation", {})


def test_a_workbook_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50))
    with pytest.raises(InvalidInput, match="Excel"):
        read_instances(tmp_path / "a.xls", "forecasting", {})


def test_a_file_that_is_not_json_is_an_instance_where_a_task_takes_files(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0 ftypisom")
    expected = [{"video_base64": "AAAAIGZ0eXBpc29t"}]
    assert read_instances(tmp_path / "clip.mp4", "video", {}) == {"instances": expected}
    path = write(tmp_path / "clip", json.dumps({"instances": expected, "parameters": {"top_k": 1}}))
    assert read_instances(path, "video", {}) == {"instances": expected, "parameters": {"top_k": 1}}


def test_an_archive_has_an_instance_for_each_line_of_its_manifest(tmp_path: Path) -> None:
    lines = [{"video": name, "label": "x"} for name in ("b", "a")]
    (tmp_path / "clips.zip").write_bytes(archive({"a": b"AAA", "b": b"BBB"}, lines))
    expected = [{"video_base64": "QkJC"}, {"video_base64": "QUFB"}]
    assert read_instances(tmp_path / "clips.zip", "video", {}) == {"instances": expected}


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "english\tspanish\nGood day\tBuenos días\n")
    assert read_instances(path, "translation", {"source": "english"})["instances"][0]["text"] == "Good day"


def test_a_body_keeps_its_parameters_and_a_mistake_is_left_to_the_server(tmp_path: Path) -> None:
    body = {"instances": [{"text": "a", "lable": "b"}, "no object"], "parameters": {"beam_size": 2}}
    path = write(tmp_path / "body.json", json.dumps(body))
    assert read_instances(path, "translation", {}) == body
    assert read_instances(path, "a task of a newer server", {}) == body


def test_a_field_of_an_instance_is_not_replaced() -> None:
    both = {"prompt": "a", "text": "b"}
    assert as_instance(both, TASKS["generation"]) == {"prompt": "a"}


@pytest.mark.parametrize(
    ("task", "name", "text", "pointer"),
    [
        ("tagging", "a.conll", "New B-place\nYork\n", "/file/row/2"),
        ("translation", "a.tsv", "source\ttarget\nonly one\n", "/file/row/2"),
        ("forecasting", "a.csv", "ds,y\n2024-01-01,1\n2024-01-02,many\n", "/file/row/3/column/y"),
    ],
)
def test_faults_are_listed(tmp_path: Path, task: str, name: str, text: str, pointer: str) -> None:
    with pytest.raises(InvalidInput, match=pointer):
        read_instances(write(tmp_path / name, text), task, {})


NAMED = "day,sold\n2024-01-01,1\n2024-01-02,2\n"


@pytest.mark.parametrize("text", [NAMED, NAMED.replace("day,sold", "ds,y")])
def test_a_table_has_the_names_of_the_upload_or_of_the_task(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", text)
    body = read_instances(path, "forecasting", {}, lambda: {"ds": "day", "y": "sold"})
    assert body["instances"][0]["values"] == [1, 2]


def test_a_table_with_other_names_is_refused_with_those_of_the_upload(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", NAMED.replace("sold", "amount"))
    with pytest.raises(InvalidInput, match="'sold'"):
        read_instances(path, "forecasting", {}, lambda: {"ds": "day", "y": "sold"})
    with pytest.raises(InvalidInput, match="'y'"):
        read_instances(path, "forecasting", {"ds": "day"}, lambda: {"y": "amount"})


def test_the_columns_of_the_upload_come_before_the_names_of_the_task(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,review\nnever,good\n")
    body = read_instances(path, "classification", {}, lambda: {"text": "review"})
    assert body["instances"][0]["text"] == "good"
