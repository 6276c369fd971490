"""The task of a file is guessed from the file and what the tasks say of themselves."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from app.page.files import ReceivedFile
from app.page.suggestions import glimpse, suggest
from app.tasks import TASKS

DESCRIPTIONS = [
    {"name": task.name, "formats": list(task.formats), "columns": list(task.columns)}
    for task in TASKS.values()
]
SAMPLES = Path(__file__).parents[3] / "app" / "samples"


def received(path: Path, name: str = "") -> ReceivedFile:
    return ReceivedFile(path, name or path.name, path.stat().st_size, 0.0)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_sample_of_a_task_is_recognized(name: str) -> None:
    best = suggest(glimpse(received(SAMPLES / TASKS[name].demo.sample)), DESCRIPTIONS)[0]
    assert best.task == name
    assert best.reason


@pytest.mark.parametrize(
    ("name", "content", "task"),
    [
        ("x.csv", b"date,unique_id,y\n2020-01-01,a,1\n", "forecasting"),
        ("x.csv", b"Text;Label\nfine;good\n", "classification"),
        ("x.tsv", b"source\ttarget\nyes\tsi\n", "translation"),
        ("x.conllu", b"1\tAda\tAda\tPROPN\n", "tagging"),
        ("x.csv.gz", gzip.compress(b"ds,y\n", mtime=0), "forecasting"),
        ("x.parq", b"PAR1\0\0\0\0", "forecasting"),
        ("x.txt", b"It was a dark and stormy night.\n", "generation"),
        (
            "x.jsonl",
            b'{"item_id": "a", "start": "2020-01-01", "freq": "D", "unique_id": 1, "ds": 1, "y": 1}\n',
            "forecasting",
        ),
    ],
)
def test_files_by_their_columns(tmp_path: Path, name: str, content: bytes, task: str) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    assert suggest(glimpse(received(path, name)), DESCRIPTIONS)[0].task == task


def test_archives_without_a_manifest_by_their_members(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/piece.mid", b"MThd")
    assert suggest(glimpse(received(path, "x.zip")), DESCRIPTIONS)[0].task == "music"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"PK\x03\x04broken", b"{", b'"unclosed\n', b"\xff\xfe\x00", b'{"a":' + b"[" * 5_000],
)
@pytest.mark.parametrize(
    "name", ["x.csv", "x.jsonl", "x.zip", "x", "x.csv.gz", "<img src=x onerror=alert(1)>.txt"]
)
def test_no_file_is_too_strange(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    ranking = suggest(glimpse(received(path, name)), DESCRIPTIONS)
    assert len(ranking) == len(TASKS)


def test_a_manifest_is_not_unpacked_beyond_its_head(tmp_path: Path) -> None:
    path, line = tmp_path / "upload", b'{"audio": "a.wav", "text": "x"}\n'
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.jsonl", line * 1_000_000)
    path.write_bytes(content.getvalue())
    contents = glimpse(received(path, "x.zip"))
    assert contents.columns == ("audio", "text")
    assert len(contents.lines) == 6


@pytest.mark.parametrize(
    ("content", "task"),
    [
        (b"date,store,sales\n2020-01-01,a,1\n2020-01-02,a,2\n", "forecasting"),
        (b"review;stars\nfine;5\npoor;1\n", "classification"),
    ],
)
def test_tables_by_their_first_rows(tmp_path: Path, content: bytes, task: str) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    contents = glimpse(received(path, "x.csv"))
    best = suggest(contents, DESCRIPTIONS)[0]
    assert best.task == task
    assert "look like" in best.reason
    assert all(len(cells) == 2 for cells in contents.table.values())


def test_the_last_row_of_a_long_table_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(b"a,b\n" + b"1,2\n" * 50 + b"x" * (1 << 17))
    contents = glimpse(received(path, "x.csv"))
    assert contents.table == {"a": ["1"] * 50, "b": ["2"] * 50}
