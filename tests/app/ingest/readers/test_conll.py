"""CoNLL columns as the reader gives them: sentences with the line of their first token."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, chunks, open_source
from app.tasks.source import Faults, Source
from app.typedefs import Json
from tests.support.factories.tagged import Sentence, entities, to_conll

PATHS = TemporaryDirectory()  # for properties, which share no fixture between examples
CELLS = st.text(
    st.characters(exclude_characters="\0\r\n\t ", exclude_categories=["Cs"]), min_size=1, max_size=5
)
SENTENCES = st.lists(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4).filter(
        lambda one: not one[0][0].startswith("-D")
    ),
    min_size=1,
    max_size=4,
)


def source(body: bytes, columns: dict[str, str] | None = None, faults: Faults | None = None) -> Source:
    path = Path(PATHS.name) / "content"
    path.write_bytes(body)
    mapping = Mapping.checked(columns or {}, ("tokens", "tags", "split"))
    return open_source(path, "conll", mapping, faults or Faults())


def records(body: bytes, **columns: str) -> list[tuple[int, Json]]:
    return list(source(body, columns).records())


def sentence(tokens: list[str], tags: list[str]) -> Json:
    return {"tokens": tokens, "tags": tags}


def refused(body: bytes, **columns: str) -> list[Problem]:
    faults = Faults()
    with pytest.raises(DatasetInvalid) as caught:  # noqa: PT012
        list(source(body, columns, faults).records())
        faults.check()
    return caught.value.problems


@given(SENTENCES, st.sampled_from([" ", "\t", "  "]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_sentences_come_back(
    sentences: list[list[tuple[str, str]]], between: str, end: str, closed: bool
) -> None:
    blocks = [end.join(between.join(pair) for pair in one) for one in sentences]
    body = (end + end).join(blocks) + end * closed
    if body.startswith("\ufeff") or "-DOCSTART-" in body:
        return
    line, expected = 1, []
    for one in sentences:
        expected.append((line, sentence([token for token, _ in one], [tag for _, tag in one])))
        line += len(one) + 1
    assert records(body.encode()) == expected


def test_the_token_is_first_and_the_tag_last() -> None:
    body = b"EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    assert records(body) == [(1, sentence(["EU", "rejects"], ["B-ORG", "O"]))]
    assert records(body, tags="2") == [(1, sentence(["EU", "rejects"], ["NNP", "VBZ"]))]
    assert records(body, tokens="2", tags="1")[0][1] == sentence(["NNP", "VBZ"], ["EU", "rejects"])


def test_documents_begin_without_a_sentence_of_their_own() -> None:
    body = b"-DOCSTART- -X- -X- O\n\nEU NNP I-NP B-ORG\n-DOCSTART-\nrejects VBZ B-VP O\n\n\n \t\nA B C D"
    assert [(line, record["tokens"]) for line, record in records(body)] == [
        (3, ["EU"]),
        (5, ["rejects"]),
        (9, ["A"]),
    ]


def test_cells_between_tabs_may_have_spaces_within() -> None:
    body = b"10 000\tNUM\nde la\t DET \n"
    assert records(body) == [(1, sentence(["10 000", "de la"], ["NUM", "DET"]))]


def test_other_spaces_are_part_of_a_token() -> None:
    body = "10\xa0000 NUM\n\u3000x O\n".encode()
    assert records(body)[0][1]["tokens"] == ["10\xa0000", "\u3000x"]


def test_an_empty_cell_between_tabs_is_for_the_task_to_refuse() -> None:
    assert records(b"Ann\tB-per\nB\t\n") == [(1, sentence(["Ann", "B"], ["B-per", ""]))]


def test_an_empty_file_has_no_sentences() -> None:
    assert records(b"") == []
    assert records(b"\n\n-DOCSTART- O\n\n") == []


def test_every_line_has_as_many_columns() -> None:
    problems = refused(b"a O\nb\n\nc O O\nd O\n")
    assert [problem.pointer for problem in problems] == ["/file/row/2", "/file/row/4"]
    assert problems[0].detail == "Expected 2 columns separated by spaces, as in the first line, got 1."
    [problem] = refused(b"a\tO\nb O\n")
    assert "separated by tabs" in problem.detail


def test_a_token_alone_is_refused_at_once() -> None:
    [problem] = refused(b"\nword\nword\nword\n")
    assert problem.pointer == "/file/row/2"
    assert "got one column" in problem.detail
    [problem] = refused(b"sentence_id,word,tag\n1,EU,B-ORG\n")
    assert problem.pointer == "/file/row/1"


def test_twenty_lines_are_reported_and_no_more() -> None:
    problems = refused(b"a O\n" + b"b\n" * 40)
    assert [problem.pointer for problem in problems] == [f"/file/row/{row}" for row in range(2, 22)]


@pytest.mark.parametrize(
    ("columns", "pointer", "word"),
    [
        ({"tags": "ner"}, "/columns/tags", "no names"),
        ({"tokens": "0"}, "/columns/tokens", "number"),
        ({"split": "2"}, "/columns/split", "'split'"),
        ({"tags": "3"}, "/columns/tags", "2 columns, not 3"),
        ({"pos": "1"}, "/columns/pos", "no column"),
    ],
)
def test_columns_have_numbers(columns: dict[str, str], pointer: str, word: str) -> None:
    [problem] = refused(b"a O\n", **columns)
    assert problem.pointer == pointer
    assert word in problem.detail


def test_chunks_are_the_same_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences: list[Sentence] = entities(7)
    body = to_conll(sentences, "\t")
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 3)
    chunk_list = list(source(body).chunks())
    assert [len(chunk.rows) for chunk in chunk_list] == [3, 3, 1]
    result = [
        (int(row), sentence(chunk.columns["tokens"][index], chunk.columns["tags"][index]))
        for chunk in chunk_list
        for index, row in enumerate(chunk.rows)
    ]
    assert result == records(body)
    assert [record for _, record in result] == [sentence(*one) for one in sentences]


def test_what_is_no_text_has_a_line() -> None:
    [problem] = refused(b"a O\n\ncaf\xe9 O\n")
    assert problem.pointer == "/file/row/3"
