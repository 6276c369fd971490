"""The bounds of a preview, and what it shows of files that have little to show."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.arrays import Arrays
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.preview import (
    BRIEF,
    MAX_PREVIEW_BYTES,
    WHOLE,
    PreviewRows,
    RowBounds,
    clip_text,
    encode_preview,
    file_field,
    shown_steps,
)
from app.tasks.source import Faults
from app.typedefs import Json
from tests.support.factories import clips, music, recordings


def encoded(text: str) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.parametrize("sign", ["a", "ß", "☂", "🎻"])
def test_a_text_is_cut_between_characters(sign: str) -> None:
    assert clip_text(encoded(sign * BRIEF.chars), BRIEF) == (sign * BRIEF.chars, False)
    assert clip_text(encoded(sign * 5 * BRIEF.chars), BRIEF) == (sign * BRIEF.chars, True)
    assert clip_text(encoded(sign * 5 * BRIEF.chars), WHOLE) == (sign * 5 * BRIEF.chars, False)
    assert clip_text(encoded(""), BRIEF) == ("", False)


def test_wide_examples_show_fewer_steps_but_one() -> None:
    assert shown_steps(10**6, 1, BRIEF) == BRIEF.steps
    assert shown_steps(5, 1, BRIEF) == 5
    assert shown_steps(10**6, 1_000, BRIEF) == 2
    assert shown_steps(10**6, 10**6, BRIEF) == 1


def test_files_are_in_whole_rows_up_to_a_size() -> None:
    bounds = RowBounds(1, 1, 1, 1, file_bytes=3)
    assert file_field("clip", lambda: b"abc", bounds) == {"clip": b"abc"}
    assert file_field("clip", lambda: b"abcd", bounds) == {"clip": None}
    assert file_field("clip", lambda: b"abc", BRIEF) == {}


def test_large_rows_are_left_out_but_the_first() -> None:
    row = {"text": "x" * (MAX_PREVIEW_BYTES // 2)}
    assert len(json.loads(encode_preview(PreviewRows(50, lambda _: row)))["rows"]) == 1
    huge = {"text": "x" * 2 * MAX_PREVIEW_BYTES}
    assert json.loads(encode_preview(PreviewRows(2, lambda _: huge))) == {"examples": 2, "rows": [huge]}


def read_arrays(directory: Path, task: str, format_: str, content: bytes) -> Arrays:
    path, faults = directory / "content", Faults()
    path.write_bytes(content)
    reading = TASKS[task].read(open_source(path, format_, Mapping.checked({}, ()), faults), faults)
    faults.check()
    return reading.arrays


def preview(directory: Path, task: str, format_: str, content: bytes) -> list[Json]:
    arrays = read_arrays(directory, task, format_, content)
    rows: list[Json] = json.loads(encode_preview(TASKS[task].preview(arrays, BRIEF)))["rows"]
    return rows


def jsonl(*records: Json) -> bytes:
    return "\n".join(map(json.dumps, records)).encode()


def test_a_series_has_its_columns_gaps_and_splits(tmp_path: Path) -> None:
    table = "unique_id,ds,y,price,promo,city,split\n" + "".join(
        f"a,2024-01-{day:02d},{day if day != 2 else ''},{day / 2},{'yes' if day % 2 else 'no'},Rome,"
        f"{'test' if day > 10 else 'train'}\n"
        for day in range(1, 13)
        if day != 3
    )
    (row,) = preview(tmp_path, "forecasting", "csv", table.encode())
    assert row["timestamps"][:3] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert row["values"][:4] == [1.0, None, None, 4.0]
    assert row["length"] == 12
    assert row["covariates"]["price"][:2] == [0.5, 1.0]
    assert row["covariates"]["promo"][:2] == ["yes", "no"]
    assert row["static"] == {"city": "Rome"}
    assert (row["splits"][0], row["splits"][-1]) == ("train", "test")


def test_a_long_series_is_cut(tmp_path: Path) -> None:
    line = {"item_id": "a", "start": "2020-01-01", "freq": "D", "target": list(range(500))}
    (row,) = preview(tmp_path, "forecasting", "jsonl", jsonl(line))
    assert (len(row["values"]), len(row["timestamps"]), row["length"]) == (100, 100, 500)
    assert row["truncated"]
    assert "splits" not in row
    arrays = read_arrays(tmp_path, "forecasting", "jsonl", jsonl(line))
    whole = TASKS["forecasting"].preview(arrays, WHOLE).row(0)
    assert (whole["values"][-1], whole["timestamps"][-1], whole["truncated"]) == (499.0, "2021-05-14", False)


def test_a_whole_piece_has_its_notes(tmp_path: Path) -> None:
    arrays = read_arrays(tmp_path, "music", "zip", music.archive({"one.mid": music.chorale(0)}))
    row = TASKS["music"].preview(arrays, WHOLE).row(0)
    assert len(row["note_events"]) == row["notes"]
    assert max(note["end"] for note in row["note_events"]) <= row["seconds"]
    assert row["midi_base64"].startswith(b"MThd")
    few = replace(WHOLE, notes=2, file_bytes=10)
    row = TASKS["music"].preview(arrays, few).row(0)
    assert (len(row["note_events"]), row["midi_base64"], row["truncated"]) == (2, None, True)


@pytest.mark.parametrize(
    ("task", "record", "expected"),
    [
        ("classification", {"text": "so"}, {"text": "so", "label": None, "split": None}),
        ("tagging", {"tokens": ["a", "b"]}, {"tokens": ["a", "b"], "tags": None, "length": 2, "split": None}),
        ("translation", {"source": "so"}, {"source": "so", "target": None, "split": None}),
        ("generation", {"text": "so", "split": "valid"}, {"text": "so", "split": "valid"}),
        (
            "classification",
            {"values": [[1, 2], [3, 4]], "label": None, "split": "test"},
            {"values": [[1.0, 2.0], [3.0, 4.0]], "length": 2, "label": None, "split": "test"},
        ),
    ],
)
def test_data_without_answers_have_none(tmp_path: Path, task: str, record: Json, expected: Json) -> None:
    (row,) = preview(tmp_path, task, "jsonl", jsonl(record))
    assert row == {**expected, "truncated": False}


def test_tags_are_shown_in_the_scheme_that_is_learned(tmp_path: Path) -> None:
    sentences = "\n\n".join(["Ann I-PER\nsaw O\nNew I-LOC\nYork I-LOC"] * 12)
    first = preview(tmp_path, "tagging", "conll", sentences.encode())[0]
    assert first["tags"] == ["B-PER", "O", "B-LOC", "I-LOC"]


def test_members_are_named_with_what_was_read_of_them(tmp_path: Path) -> None:
    (clip, *_) = preview(tmp_path, "video", "zip", clips.sides(8))
    assert clip.keys() == {"video", "label", "frames", "width", "height", "split", "truncated"}
    assert clip["frames"] > 0 < clip["width"]
    (piece, *_) = preview(tmp_path, "music", "zip", music.archive({"b/one.mid": music.chorale(0)}))
    assert (piece["midi"], piece["split"]) == ("b/one.mid", None)
    assert piece["seconds"] > 0 < piece["notes"]
    assert piece["tracks"] >= 1
    (song, *_) = preview(tmp_path, "speech", "zip", recordings.songs())
    assert song["frames"] == pytest.approx(100 * song["seconds"], abs=1)
    assert song["text"]
    assert song["audio"].count(".") == 1
