import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, open_source
from app.ingest.readers.delimited import reader as tables
from app.tasks.shared import splits
from app.tasks.shared.text_checks import text_problem
from app.tasks.source import Faults
from app.tasks.translation.reading import MIN_TRAIN_PAIRS, Pairs, read_pairs
from tests.support.factories.bilingual import Pair, jsonl, sentences, tsv
from tests.support.fixtures.real_data import shared


def read(
    directory: Path, body: bytes, format_: str = "tsv", columns: dict[str, str] | None = None
) -> tuple[Pairs, dict[str, Any], list[str]]:
    path, faults = directory / "content", Faults()
    path.write_bytes(body)
    pairs, reading = read_pairs(open_source(path, format_, Mapping(columns or {}), faults), faults)
    return pairs, reading.summary, reading.warnings


def texts_of(pairs: Pairs) -> list[Pair]:
    rows = range(len(pairs))
    return list(zip(pairs.sources.pick(rows), pairs.targets.pick(rows), strict=True))


@pytest.mark.parametrize(("format_", "write"), [("tsv", tsv), ("jsonl", jsonl)])
def test_both_formats_give_the_same_pairs(format_: str, write: Any, tmp_path: Path) -> None:
    sample = sentences(20)
    marks = ["train"] * 12 + ["valid"] * 3 + ["test"] * 5
    pairs, summary, warnings = read(tmp_path, write(sample, marks), format_)
    assert texts_of(pairs) == sample
    assert [splits.SPLIT_NAMES[code] for code in pairs.splits] == marks
    assert summary["pairs"] == 20
    assert summary["split"] == {"train": 12, "valid": 3, "test": 5}
    assert warnings == []
    again = Pairs.from_arrays(pairs.arrays())
    assert texts_of(again) == sample
    assert all(array.dtype != object for array in pairs.arrays().values())


def test_a_file_without_splits_says_so(tmp_path: Path) -> None:
    pairs, summary, _ = read(tmp_path, tsv(sentences(20)))
    assert summary["split"] is None
    assert set(pairs.splits) == {splits.UNASSIGNED}


def test_a_pair_without_a_split_beside_others_is_for_training(tmp_path: Path) -> None:
    _, summary, _ = read(tmp_path, tsv(sentences(20), [""] * 15 + ["test"] * 5))
    assert summary["split"] == {"train": 15, "valid": 0, "test": 5}


def test_the_summary_counts_words_and_characters(tmp_path: Path) -> None:
    sample = [*[("a bc", "d")] * 9, ("one two three", "  uno dos  ")]
    pairs, summary, _ = read(tmp_path, tsv(sample))
    assert texts_of(pairs)[-1] == ("one two three", "uno dos")  # the space around a text is none of it
    assert summary["source"] == {
        "characters": 9 * 4 + 13,
        "words": 9 * 2 + 3,
        "words_per_text": {"shortest": 2, "median": 2.0, "longest": 3},
    }
    assert summary["target"]["words_per_text"] == {"shortest": 1, "median": 1.0, "longest": 2}
    json.dumps(summary, allow_nan=False)


def test_columns_can_have_other_names(tmp_path: Path) -> None:
    sample = sentences(20)
    body = tsv(sample).replace(b"source\ttarget", b"en\tes", 1)
    assert texts_of(read(tmp_path, body, "tsv", {"source": "en", "target": "es"})[0]) == sample
    body = jsonl(sample).replace(b'"source"', b'"en"').replace(b'"target"', b'"es"')
    assert texts_of(read(tmp_path, body, "jsonl", {"source": "en", "target": "es"})[0]) == sample


def test_the_direction_can_be_turned_round(tmp_path: Path) -> None:
    sample = sentences(20)
    pairs, _, _ = read(tmp_path, tsv(sample), "tsv", {"source": "target", "target": "source"})
    assert texts_of(pairs) == [(target, source) for source, target in sample]


def test_quotes_in_a_table_are_characters(tmp_path: Path) -> None:
    sample = [(f'He said "{number}', f'"{number}" dijo') for number in range(10)]
    assert texts_of(read(tmp_path, tsv(sample))[0]) == sample


def test_unused_columns_are_named(tmp_path: Path) -> None:
    body = b"source\tid\ttarget\n" + b"".join(b"a%d\t7\tb\n" % row for row in range(MIN_TRAIN_PAIRS))
    assert read(tmp_path, body)[2] == ["The column 'id' is not used."]
    sample = [
        {"source": f"a{row}", "target": "b", f"note {row} \ud800": 1, f"more {row}": 2}
        for row in range(MIN_TRAIN_PAIRS)
    ]
    warnings = read(tmp_path, b"".join(json.dumps(one).encode() + b"\n" for one in sample), "jsonl")[2]
    assert len(warnings) == 12
    "".join(warnings).encode()


def test_rows_in_many_pieces_are_one_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHUNK_ROWS", 7)
    sample = sentences(50)
    pairs, summary, _ = read(tmp_path, tsv(sample))
    assert texts_of(pairs) == sample
    assert summary["pairs"] == 50


def test_faults_of_several_rows_are_all_reported(tmp_path: Path) -> None:
    rows = tsv(sentences(12), ["train"] * 12).splitlines()
    rows[2], rows[5], rows[7] = b"a\t\ttrain", b"a\tb\tdev", b"\t\ttrain"
    with pytest.raises(DatasetInvalid) as caught:
        read(tmp_path, b"\n".join(rows))
    assert sorted(problem.pointer for problem in caught.value.problems) == [
        "/file/row/3/column/target",
        "/file/row/6/column/split",
        "/file/row/8/column/source",
        "/file/row/8/column/target",
    ]


def warned(directory: Path, sample: list[Pair], marks: list[str] | None = None) -> str:
    return " ".join(read(directory, tsv(sample, marks))[2])


def test_copies_are_warned_of_when_there_are_many(tmp_path: Path) -> None:
    sample = [(f"line {number}", f"línea {number}") for number in range(95)]
    assert "the same" not in warned(tmp_path, [*sample, *[("OK", "OK")] * 5])
    warnings = warned(tmp_path, [*sample, *[(f"OK {number}", f"OK {number}") for number in range(6)]])
    assert "In 6 of 101 pairs both texts are the same (the first is in line 97)." in warnings


@pytest.mark.parametrize("longer", [0, 1])
def test_pairs_of_very_different_length_are_warned_of(longer: int, tmp_path: Path) -> None:
    sample = sentences(50)
    odd = ["The dog sees the cat.", "El perro ve el gato."]
    odd[longer] *= 9
    warnings = warned(tmp_path, [*sample, (odd[0], odd[1])])
    assert "In 1 of 51 pairs" in warnings
    assert "line 52" in warnings


def test_a_language_that_is_longer_as_a_rule_is_no_reason_to_warn(tmp_path: Path) -> None:
    sample = [(source, f"{target} {target} {target} {target} {target}") for source, target in sentences(50)]
    assert warned(tmp_path, sample) == ""


def test_test_sources_that_are_trained_on_are_warned_of(tmp_path: Path) -> None:
    sample = [(f"line {number}", f"línea {number}") for number in range(20)]
    marks = ["train"] * 12 + ["valid"] * 4 + ["test"] * 4
    assert warned(tmp_path, sample, marks) == ""
    sample[17] = (sample[3][0], "otra")
    assert "1 of 4 sources of the test split are in the training split too" in warned(tmp_path, sample, marks)


def test_repeated_pairs_without_a_split_are_warned_of(tmp_path: Path) -> None:
    sample = [(f"line {number}", f"línea {number}") for number in range(100)]
    assert warned(tmp_path, sample) == ""
    assert "20 pairs occur more than once" in warned(tmp_path, [*sample, *sample[:20]])


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("a text", None),
        ("日本語", None),
        (7, "no text"),
        (None, "no text"),
        (" \u2003\n", "empty"),
        ("x" * 100_000, None),
        ("x" * 100_001, "100,001"),
        ("a\0", "NUL"),
        ("a\ud800", "character 1"),
    ],
)
def test_the_problem_of_a_text(value: object, word: str | None) -> None:
    problem = text_problem(value)
    assert (problem is None) if word is None else (problem is not None and word in problem)


@pytest.mark.server
def test_real_pairs(tmp_path: Path) -> None:
    body = shared("translation/bible_en_es.jsonl").read_bytes()
    pairs, summary, warnings = read(tmp_path, body, "jsonl")
    assert len(pairs) == summary["pairs"] == 31_076
    assert summary["split"] == {"train": 27_982, "valid": 1_753, "test": 1_341}
    assert summary["source"]["words"] == 751_611
    assert np.diff(pairs.sources.ragged.offsets).min() > 0
    assert len(warnings) == 2
    assert "In 6 of 31,076 pairs one text" in warnings[0]
    assert "14 of 1,341 sources" in warnings[1]
