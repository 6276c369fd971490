"""What a file of texts becomes: bytes with offsets, splits, and a summary."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.arrays import Arrays
from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, lines, open_source
from app.tasks.generation.reading import read_documents, untrainable
from app.tasks.shared.ragged import Texts
from app.tasks.source import Faults
from app.typedefs import Json

PLAY = "Who's there?\n\nNay, answer me: stand, and unfold yourself. ☂\n"


def read(path: Path, body: bytes, format_: str = "jsonl", **columns: str) -> tuple[Arrays, Json, list[str]]:
    path.write_bytes(body)
    faults = Faults()
    return read_documents(
        open_source(path, format_, Mapping.checked(columns, ("text", "split")), faults), faults
    )


def jsonl(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "content"


def test_a_plain_text_is_one_document(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "READ_BLOCK_BYTES", 64)  # it comes in many pieces
    whole = PLAY * 40
    arrays, summary, warnings = read(path, whole.encode(), "txt")
    assert list(Texts.from_arrays(arrays, "text").pick([0])) == [whole]
    assert arrays["split"].tolist() == [-1]
    assert arrays["text"].dtype == np.uint8
    assert summary == {
        "documents": 1,
        "characters": len(whole),
        "distinct_characters": len(set(whole)),
        "bytes": len(whole.encode()),
        "lines": 120,
        "train_characters": len(whole),
        "split": None,
    }
    assert warnings == []


def test_each_line_of_json_is_a_document(path: Path) -> None:
    body = jsonl(
        {"text": PLAY * 20, "split": "train"},
        {"text": "no end", "split": "valid"},
        {"text": "two\nlines", "split": "test"},
        {"text": "naïve"},
        {"text": "日本", "split": ""},
    )
    arrays, summary, warnings = read(path, b"\n" + body)
    texts = Texts.from_arrays(arrays, "text")
    assert texts.pick(range(5)) == [PLAY * 20, "no end", "two\nlines", "naïve", "日本"]
    assert arrays["split"].tolist() == [0, 1, 2, -1, -1]
    assert summary["documents"] == 5
    assert summary["lines"] == 60 + 1 + 2 + 1 + 1
    assert summary["split"] == {"train": 3, "valid": 1, "test": 1}  # beside the others these two train
    assert summary["train_characters"] == len(PLAY * 20) + 5 + 2
    assert warnings == []


def test_fields_may_have_other_names_and_unused_ones_are_reported(path: Path) -> None:
    body = jsonl({"body": PLAY * 20, "text": "no", "year": 1603}, {"body": "x", "author": "W. S."})
    arrays, summary, warnings = read(path, body, text="body")
    assert Texts.from_arrays(arrays, "text").pick([0, 1]) == [PLAY * 20, "x"]
    assert summary["split"] is None
    assert warnings == [
        "The field 'year' (first in line 1) is not used.",
        "The field 'author' (first in line 2) is not used.",
    ]


def test_endless_kinds_of_unused_fields_are_not_all_reported(path: Path) -> None:
    body = jsonl(*({"text": PLAY * 20, f"field {at}": 1} for at in range(50)))
    assert len(read(path, body)[2]) == 12


def test_a_few_prompts_are_a_data_set_that_cannot_be_trained_on(path: Path) -> None:
    _, summary, warnings = read(path, jsonl({"text": "To be"}, {"text": "or not"}))
    assert summary["characters"] == 11
    assert warnings == []  # whoever stores it says why it cannot be trained on
    assert "11 characters to train on" in str(untrainable(summary))


def test_every_fault_of_a_file_is_reported_with_its_position(path: Path) -> None:
    body = jsonl({"text": "ok"}, {"text": "", "split": "dev"}, {"txt": "a"}, {"text": 7})
    with pytest.raises(DatasetInvalid) as caught:
        read(path, body)
    assert [problem.pointer for problem in caught.value.problems] == [
        "/file/row/2/column/text",
        "/file/row/2/column/split",
        "/file/row/3/column/text",
        "/file/row/4/column/text",
    ]
    assert all(problem.detail.endswith(".") for problem in caught.value.problems)
