"""Files without answers: they may be uploaded to be predicted, and say that they cannot be trained on."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.ingest.child import read_upload
from app.tasks import TASKS
from app.tasks.evaluation.contract import EvaluatedTask, EvaluationSettings
from app.typedefs import Json
from tests.support.factories import clips, music
from tests.support.factories.recordings import archive, tone, written


def read(directory: Path, task: str, format_: str, body: bytes, **columns: str) -> Json:
    """The reply for a file, as JSON has it."""
    path, out = directory / "content", directory / "arrays"
    path.write_bytes(body)
    out.mkdir(exist_ok=True)
    spec = {"path": str(path), "format": format_, "columns": columns, "out": str(out), "archive_limits": {}}
    reply: Json = json.loads(json.dumps(read_upload(spec, TASKS[task]), allow_nan=False))
    return reply


def lines(*records: Json) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


CLIP = clips.encode(clips.moving_square(right=True, count=4, seed=0))
WITHOUT_ANSWERS: dict[str, tuple[str, str, bytes, str]] = {
    "texts": ("classification", "jsonl", lines({"text": "a"}, {"text": ""}, {"text": "b"}), "labels"),
    "labels null": ("classification", "jsonl", lines({"text": "a", "label": None}), "labels"),
    "a table of texts": ("classification", "csv", b"id,text\n1,a\n2,b\n", "labels"),
    "labels blank": ("classification", "csv", b"text,label\na,\nb, \n", "labels"),
    "readings": ("classification", "jsonl", lines({"values": [[1.0], [2.0]]}), "labels"),
    "sentences": ("tagging", "jsonl", lines({"tokens": ["a"]}, {"tokens": [], "id": 7}), "tags"),
    "tags null": ("tagging", "jsonl", lines({"tokens": ["a"], "tags": None}), "tags"),
    "tokens": ("tagging", "conll", b"Ann\nis\n\nhere\n", "tags"),
    "CoNLL-U": ("tagging", "conll", b"1\tAnn" + b"\t_" * 8 + b"\n", "tags"),
    "sources": ("translation", "jsonl", lines({"source": "a"}, {"source": " "}), "targets"),
    "a table of sources": ("translation", "tsv", b"source\na\nb\n", "targets"),
    "targets blank": ("translation", "tsv", b"source\ttarget\na\t\nb\t\n", "targets"),
    "short series": ("forecasting", "csv", b"ds,y\n2024-01-01,1\n2024-01-02,2\n", "fewer than 3"),
    "one value": (
        "forecasting",
        "jsonl",
        lines({"start": "2024-01-01", "freq": "D", "target": [1]}),
        "fewer",
    ),
    "nothing observed": ("forecasting", "csv", b"ds,y\n2024-01-01,\n2024-01-02,\n", "fewer than 3"),
    "recordings": (
        "speech",
        "zip",
        archive(
            {"a.wav": written(tone()), "b.wav": written(tone())}, [{"audio": "a.wav"}, {"audio": "b.wav"}]
        ),
        "No recording has a text",
    ),
    "clips": ("video", "zip", clips.archive({"a": CLIP}, [{"video": "a"}]), "No clip has a label"),
}


@pytest.mark.parametrize("name", WITHOUT_ANSWERS)
def test_a_file_without_answers_is_stored_and_says_so(name: str, tmp_path: Path) -> None:
    task, format_, body, word = WITHOUT_ANSWERS[name]
    reply = read(tmp_path, task, format_, body)
    assert reply["ok"], reply
    assert (reply["summary"]["trainable"], reply["summary"]["answers"]) == (False, False)
    assert word in reply["summary"]["reason"]
    reason = reply["summary"]["reason"]
    assert reply["warnings"][0] == f"{reason} The data set can be predicted, but not trained on."
    assert sum(reason.rstrip(".") in warning for warning in reply["warnings"]) == 1


TAGGED = {"tokens": ["Ann", "is", "here"], "tags": ["B-per", "O", "O"]}
PAIR = {"source": "house", "target": "casa"}
FEW_ANSWERS: dict[str, tuple[str, str, bytes, str]] = {
    "three texts": (
        "classification",
        "csv",
        b"text,label\ngood film,pos\nbad film,neg\nfine,pos\n",
        "3 examples are too few for 2 labels",
    ),
    "one text": ("classification", "csv", b"text,label\ngood film,pos\n", "no labels can be told apart"),
    "one reading": ("classification", "jsonl", lines({"values": [[1.0]], "label": 1}), "told apart"),
    "a test split": (
        "classification",
        "jsonl",
        lines(*[{"text": "a", "label": index % 2, "split": "test"} for index in range(20)]),
        "fewer than two labels",
    ),
    "two sentences": ("tagging", "jsonl", lines(TAGGED, TAGGED), "There are 2 sentences"),
    "tests": ("tagging", "jsonl", lines(*[TAGGED | {"split": "test"}] * 12), "outside the valid and test"),
    "one tag": ("tagging", "jsonl", lines(*[{"tokens": ["a"], "tags": ["x"]}] * 12), "nothing to learn"),
    "a pair": ("translation", "tsv", b"source\ttarget\nhouse\tcasa\n", "There is 1 pair"),
    "pairs of a test": ("translation", "jsonl", lines(*[PAIR | {"split": "test"}] * 12), "There are 0 pairs"),
    "a document": ("generation", "jsonl", lines({"text": "To be"}), "fewer than 1,000"),
    "a recording": ("speech", "zip", archive({"a.wav": written(tone())}, [{"audio": "a.wav", "text": "a"}]),
                    "There is 1 recording"),
    "a clip": ("video", "zip", clips.archive({"a": CLIP}, [{"video": "a", "label": "l"}]), "There is 1 clip"),
    "pieces": ("music", "zip", music.chorales(2), "There are 2 pieces"),
}  # fmt: skip


@pytest.mark.parametrize("name", FEW_ANSWERS)
def test_a_few_answers_can_be_evaluated(name: str, tmp_path: Path) -> None:
    task_name, format_, body, word = FEW_ANSWERS[name]
    reply = read(tmp_path, task_name, format_, body)
    assert reply["ok"], reply
    summary, task = reply["summary"], TASKS[task_name]
    assert (summary["trainable"], summary["answers"]) == (False, True)
    assert word in summary["reason"]
    sentence = f"{summary['reason']} The data set can be predicted and evaluated, but not trained on."
    assert reply["warnings"] == [sentence]
    assert isinstance(task, EvaluatedTask)
    settings = EvaluationSettings(tuple(task.evaluation.always(summary)))
    state = {"scheme": "plain"}  # of tags
    assert task.evaluation.check(summary, [state], task.parameters(), settings) == []


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("texts", 3),
        ("readings", 1),
        ("sentences", 2),
        ("tokens", 2),
        ("sources", 2),
        ("clips", 1),
        ("pieces", 2),
        ("a recording", 1),
        ("three texts", 3),
    ],
)
def test_each_example_is_an_instance(name: str, count: int, tmp_path: Path) -> None:
    task, format_, body, _ = {**WITHOUT_ANSWERS, **FEW_ANSWERS}[name]
    read(tmp_path, task, format_, body)
    with np.load(tmp_path / "arrays" / "arrays.npz", allow_pickle=False) as arrays:
        instances = TASKS[task].instances(dict(arrays), {})
    assert len([instances[index] for index in range(len(instances))]) == count


@pytest.mark.parametrize(
    ("task", "format_", "body", "pointer"),
    [
        (
            "classification",
            "jsonl",
            lines({"text": "a", "label": "x"}, {"text": "b"}),
            "/file/row/2/column/label",
        ),
        ("classification", "csv", b"text,label\na,x\n ,x\n", "/file/row/3/column/text"),
        (
            "tagging",
            "jsonl",
            lines({"tokens": ["a"]}, {"tokens": ["a"], "tags": ["x"]}),
            "/file/row/1/column/tags",
        ),
        ("translation", "tsv", b"source\ttarget\na\tb\nc\t\n", "/file/row/3/column/target"),
    ],
)
def test_answers_for_some_examples_are_a_fault(
    task: str, format_: str, body: bytes, pointer: str, tmp_path: Path
) -> None:
    reply = read(tmp_path, task, format_, body)
    assert [problem["pointer"] for problem in reply["problems"]] == [pointer]


@pytest.mark.parametrize(
    ("task", "format_", "body", "pointer"),
    [
        ("classification", "csv", b"text,labels\n" + b"a,x\n" * 30, "/file/row/1/column/label"),
        ("classification", "jsonl", lines(*[{"text": "a", "mood": "x"}] * 30), "/file/row/1/column/label"),
        ("classification", "tsv", b"review\tlabel\n" + b"a\tx\n" * 30, "/file/row/1/column/text"),
        ("classification", "jsonl", lines(*[{"body": "a", "label": "x"}] * 30), "/file/row/1/column/text"),
        ("tagging", "jsonl", lines(*[{"tokens": ["a"], "ner_tags": ["x"]}] * 30), "/file/row/1/column/tags"),
        ("tagging", "jsonl", lines(*[{"words": ["a"], "tags": ["x"]}] * 30), "/file/row/1/column/tokens"),
        ("translation", "tsv", b"source\tgoal\n" + b"a\tb\n" * 30, "/file/row/1/column/target"),
        ("translation", "jsonl", lines(*[{"en": "a", "es": "b"}] * 30), "/file/row/1/column/source"),
        ("generation", "jsonl", lines(*[{"body": "a"}] * 30), "/file/row/1/column/text"),
        ("forecasting", "jsonl", lines(*[{"day": "2024-01-01", "y": 1}] * 30), "/file/row/1/column/ds"),
    ],
)
def test_a_column_that_seems_misnamed_is_one_fault_with_the_columns(
    task: str, format_: str, body: bytes, pointer: str, tmp_path: Path
) -> None:
    [problem] = read(tmp_path, task, format_, body)["problems"]
    assert problem["pointer"] == pointer
    assert "`columns`" in problem["detail"]
    others = set(body.split(b"\n")[0].decode().translate(str.maketrans('{}":,[]', "       ")).split())
    assert any(name in problem["detail"] for name in others - {"a", "b", "x"})


def test_names_are_recognised_in_another_case(tmp_path: Path) -> None:
    rows = [{"Text": f"text {index}", "LABEL": index % 2} for index in range(20)]
    assert read(tmp_path, "classification", "jsonl", lines(*rows))["summary"]["classes"] == 2
    body = b"Unique_ID,DS,Y\n" + b"".join(b"a,2024-01-%02d,%d\n" % (day, day) for day in range(1, 20))
    assert read(tmp_path, "forecasting", "csv", body)["summary"]["series"] == 1


def test_a_column_that_is_named_and_not_there_is_a_fault(tmp_path: Path) -> None:
    reply = read(tmp_path, "classification", "jsonl", lines({"text": "a", "label": "b"}), label="mood")
    assert reply["problems"] == [
        {"pointer": "/columns/label", "detail": "The file has no column 'mood'; it has text, label."}
    ]


def test_labels_keep_every_digit(tmp_path: Path) -> None:
    rows = [{"text": f"text {index}", "label": 2**63 + index % 2} for index in range(20)]
    labels = read(tmp_path, "classification", "jsonl", lines(*rows))["summary"]["labels"]
    assert sorted(labels) == [str(2**63), str(2**63 + 1)]
    rows[3]["label"] = 2.0**60
    [problem] = read(tmp_path, "classification", "jsonl", lines(*rows))["problems"]
    assert problem["pointer"] == "/file/row/4/column/label"
    assert "not exact" in problem["detail"]


@pytest.mark.parametrize(
    ("task", "answers"),
    [("classification", ("label", "a", "b", "c")), ("tagging", ("tags", ["a"], ["b"], ["c"]))],
)
def test_an_answer_that_only_held_out_examples_have_is_named(
    task: str, answers: tuple[str, object, object, object], tmp_path: Path
) -> None:
    name, one, other, held_out = answers
    inputs: Json = {"text": "x"} if task == "classification" else {"tokens": ["x"]}
    rows = [inputs | {name: one if index % 2 else other, "split": "train"} for index in range(20)]
    rows += [inputs | {name: held_out, "split": split} for split in ("valid", "test")]
    warnings = read(tmp_path, task, "jsonl", lines(*rows))["warnings"]
    assert any("for training has the label 'c'" in warning for warning in warnings), warnings
    again = read(tmp_path, task, "jsonl", lines(*rows[:20]))["warnings"]
    assert not any("for training has" in warning for warning in again)


def test_rows_in_json_lines_are_a_long_table(tmp_path: Path) -> None:
    days = [f"2024-01-{day:02d}" for day in range(1, 21)]
    rows: list[Json] = [
        {
            "unique_id": 2**63 + shop,
            "ds": day,
            "y": None if day == days[3] else index,
            "promo": index % 3 == 0,
        }
        for shop in (0, 1)
        for index, day in enumerate(days)
    ]
    for row in rows[20:]:
        row["price"] = 1.5
    reply = read(tmp_path, "forecasting", "jsonl", lines(*rows))
    assert reply["ok"], reply
    summary = reply["summary"]
    assert (summary["series"], summary["rows"], summary["frequency"]) == (2, 40, "D")
    assert summary["covariates"] == {"static": [], "numeric": ["promo", "price"], "category": []}
    with np.load(tmp_path / "arrays" / "arrays.npz") as arrays:
        assert arrays["ids"].tolist() == [str(2**63), str(2**63 + 1)]
        assert np.isnan(arrays["values"]).sum() == 2
