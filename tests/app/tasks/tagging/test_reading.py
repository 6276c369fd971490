import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, open_source
from app.tasks.source import Faults
from app.tasks.tagging import reading
from app.tasks.tagging.reading import read_sentences
from app.tasks.tagging.sentences import Sentences
from app.typedefs import Json
from tests.support.factories.tagged import (
    Sentence,
    entities,
    parts_of_speech,
    to_bioes,
    to_conll,
    to_iob1,
    to_jsonl,
)


def read(directory: Path, body: bytes, format_: str = "jsonl") -> tuple[Sentences, Json, list[str]]:
    path, faults = directory / "content", Faults()
    path.write_bytes(body)
    sentences, reading = read_sentences(open_source(path, format_, Mapping({}), faults), faults)
    return sentences, reading.summary, reading.warnings


def refused(directory: Path, body: bytes, format_: str = "jsonl") -> list[Problem]:
    with pytest.raises(DatasetInvalid) as caught:
        read(directory, body, format_)
    return caught.value.problems


def rows_of(data: Sentences) -> list[Sentence]:
    rows = []
    for row in range(len(data)):
        tags = data.tags[data.tokens.offsets[row] : data.tokens.offsets[row + 1]]
        rows.append((data.words.pick(data.tokens[row]), [data.tag_names[tag] for tag in tags.tolist()]))
    return rows


@pytest.mark.parametrize("sentences", [entities(40), parts_of_speech(40)])
def test_both_formats_give_the_same_sentences(tmp_path: Path, sentences: list[Sentence]) -> None:
    for format_, body in (
        ("jsonl", to_jsonl(sentences)),
        ("conll", to_conll(sentences)),
        ("conll", to_conll(sentences, "\t")),
    ):
        data, summary, warnings = read(tmp_path, body, format_)
        assert rows_of(data) == sentences
        assert (summary["sentences"], warnings) == (40, [])


def test_every_distinct_word_is_there_once(tmp_path: Path) -> None:
    data, summary, _ = read(tmp_path, to_jsonl(entities(40)))
    words = data.words.pick(range(len(data.words)))
    assert words[0] == ""
    assert len(set(words)) == len(words) == summary["distinct_words"] + 1
    assert summary["distinct_words"] == len({token for tokens, _ in entities(40) for token in tokens})


def test_the_summary_of_entities(tmp_path: Path) -> None:
    sentences = entities(40)
    _, summary, _ = read(tmp_path, to_jsonl(sentences, ["train"] * 30 + ["valid"] * 5 + ["test"] * 5))
    tags = [tag for _, tags in sentences for tag in tags]
    assert summary["scheme"] == "bio"
    assert summary["tokens"] == len(tags)
    assert summary["tags"]["O"] == tags.count("O")
    assert list(summary["tags"]) == sorted(summary["tags"], key=lambda tag: -tags.count(tag))
    assert summary["distinct_tags"] == len(set(tags))
    assert summary["entities"] == {"per": tags.count("B-per"), "loc": tags.count("B-loc")}
    assert summary["split"] == {"train": 30, "valid": 5, "test": 5}
    assert summary["train_sentences"] == 30
    assert summary["train_tokens"] == sum(len(tokens) for tokens, _ in sentences[:30])
    lengths = sorted(len(tokens) for tokens, _ in sentences)
    assert summary["tokens_per_sentence"]["longest"] == lengths[-1]
    json.dumps(summary, allow_nan=False)


def test_the_summary_of_other_tags(tmp_path: Path) -> None:
    _, summary, _ = read(tmp_path, to_jsonl(parts_of_speech(40)))
    assert (summary["scheme"], summary["entities"], summary["split"]) == ("plain", None, None)
    assert "NAME" in summary["tags"]


def test_a_summary_names_the_most_frequent_tags_only(tmp_path: Path) -> None:
    rows = [(["w"] * (at + 1), [f"T{at}"] * (at + 1)) for at in range(60)]
    _, summary, _ = read(tmp_path, to_jsonl(rows))
    assert summary["distinct_tags"] == 60
    assert list(summary["tags"]) == [f"T{at}" for at in range(59, 9, -1)]


def test_other_schemes_are_recognised(tmp_path: Path) -> None:
    for write, name, entities_as in ((to_bioes, "bioes", to_bioes), (to_iob1, "iob1", list)):
        sentences = [(tokens, write(tags)) for tokens, tags in entities(40)]
        data, summary, warnings = read(tmp_path, to_conll(sentences), "conll")
        assert summary["scheme"] == name
        assert [tags for _, tags in rows_of(data)] == [entities_as(tags) for _, tags in entities(40)]
        assert bool(warnings) == (name == "iob1")


def test_rows_without_a_split_are_for_training(tmp_path: Path) -> None:
    _, summary, _ = read(tmp_path, to_jsonl(entities(40), ["test"] * 4))
    assert summary["split"] == {"train": 36, "valid": 0, "test": 4}


def test_fields_that_are_not_used_are_named(tmp_path: Path) -> None:
    rows = [{"tokens": tokens, "tags": tags, "id": at} for at, (tokens, tags) in enumerate(entities(12))]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert read(tmp_path, body)[2] == ["The field 'id' (first in line 1) is not used."]


def test_sentences_that_are_tested_on_should_be_new(tmp_path: Path) -> None:
    sentences = [*entities(30), *entities(3)]
    warnings = read(tmp_path, to_jsonl(sentences, ["train"] * 30 + ["test"] * 3))[2]
    assert warnings == [
        "3 of 3 sentences of the test split are in the training split too, which flatters the metrics."
    ]


def test_faults_of_columns_are_on_the_line_of_the_token(tmp_path: Path) -> None:
    sentences: list[Any] = [*entities(12), (["Is", "Ann", "there"], ["O", "I-per", "O"])]
    line = sum(len(tokens) + 1 for tokens, _ in entities(12)) + 2
    [problem] = refused(tmp_path, to_conll(sentences), "conll")
    assert problem.pointer == f"/file/row/{line}/column/tags"
    assert "token 2 ('Ann')" in problem.detail
    [problem] = refused(tmp_path, to_jsonl(sentences))
    assert problem.pointer == "/file/row/13/column/tags"
    [problem] = refused(tmp_path, to_conll(sentences[:12], "\t") + b"\na\tO\n\tO\nb\tO\n", "conll")
    assert problem.pointer == f"/file/row/{line}/column/tokens"
    assert problem.detail == "Token 2 is empty."


def test_a_sentence_may_be_long_but_not_endless(tmp_path: Path) -> None:
    row = (["w"] * 5_000, ["A", "B"] * 2_500)
    assert read(tmp_path, to_jsonl([row] * 10))[1]["tokens"] == 50_000
    longer = (["w"] * 5_001, ["A"] * 5_001)
    [problem] = refused(tmp_path, to_conll([row, longer]), "conll")
    assert problem.pointer == "/file/row/5002/column/tokens"
    assert "A blank line ends a sentence." in problem.detail


def test_the_number_of_tags_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_DISTINCT_TAGS", 5)
    rows = [(["w", "w"], [f"T{at}", "T0"]) for at in range(5)] * 3
    assert read(tmp_path, to_jsonl(rows))[1]["distinct_tags"] == 5
    problems = refused(tmp_path, to_jsonl([*rows, (["w"], ["T5"]), (["w"], ["T6"])]))
    assert [problem.pointer for problem in problems] == ["/file/row/16/column/tags"]
    assert "more than 5 different tags" in problems[0].detail


def test_all_faults_of_a_line_are_reported(tmp_path: Path) -> None:
    problems = refused(tmp_path, b'{"tokens": ["a", 1, ""], "tags": ["O", null, ["B"]], "split": "train"}\n')
    assert [(problem.pointer[-6:], problem.detail) for problem in problems] == [
        ("tokens", "Token 2 is '1', which is no text."),
        ("tokens", "Token 3 is empty."),
        ("n/tags", "Tag 2 is 'None', which is no text."),
        ("n/tags", "Tag 3 is \"['B']\", which is no text."),
    ]
