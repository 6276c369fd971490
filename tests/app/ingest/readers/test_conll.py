"""CoNLL columns as the reader gives them: sentences with the line of their first token."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, chunks, open_source
from app.tasks.source import TOKEN_LINES, Faults, Source
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


def test_a_file_of_tokens_alone_has_no_tags() -> None:
    assert records(b"\nAnn\nis\n\nhere\n") == [(2, {"tokens": ["Ann", "is"]}), (5, {"tokens": ["here"]})]
    assert records(b"1,000\n,\n") == [(1, {"tokens": ["1,000", ","]})]
    [problem] = refused(b"Ann\nis O\n")
    assert problem == ("/file/row/2", "Expected one column, as in the first line, got 2.")


def test_a_table_of_another_kind_is_no_file_of_tokens() -> None:
    [problem] = refused(b"sentence_id,word,tag\n1,EU,B-ORG\n")
    assert problem.pointer == "/file/row/1"
    assert "got one column" in problem.detail


UD = """\
# newdoc id = d1
# sent_id = 1
# text = Ann can't go.
1	Ann	Ann	PROPN	NNP	_	4	nsubj	_	_
2-3	can't	_	_	_	_	_	_	_	_
2	ca	can	AUX	MD	_	4	aux	_	_
3	n't	not	PART	RB	_	4	advmod	_	_
4	go	go	VERB	VB	_	0	root	_	SpaceAfter=No
4.1	_	go	VERB	_	_	_	_	4:conj	_
5	20 000	.	NUM	.	_	4	punct	_	_

# any comment
1-2	Im	_	_	_	_	_	_	_	_
1	#	in	ADP	IN	_	3	case	_	_
2	dem	der	DET	DT	_	3	det	_	_
"""
UD_FIRST = ["Ann", "ca", "n't", "go", "20 000"]


@pytest.mark.parametrize(
    "columns", [{}, {"tokens": "2", "tags": "4"}, {"tokens": "FORM", "tags": "upos"}, {"tags": "UPOS"}]
)
def test_words_of_conll_u_are_those_with_a_whole_id(columns: dict[str, str]) -> None:
    first, second = records(UD.encode(), **columns)
    assert first == (
        4,
        sentence(UD_FIRST, ["PROPN", "AUX", "PART", "VERB", "NUM"]) | {TOKEN_LINES: [4, 6, 7, 8, 10]},
    )
    assert second == (14, sentence(["#", "dem"], ["ADP", "DET"]))


def test_conll_u_without_tags_has_none() -> None:
    first, _ = records(UD.encode(), tags="6")
    assert first[1]["tokens"] == UD_FIRST
    assert "tags" not in first[1]


def test_fewer_columns_with_ids_are_read_likewise() -> None:
    body = b"# a comment\n1 Ann B-per\n2-3 can't _\n2 ca O\n3 n't O\n"
    assert records(body) == [
        (2, sentence(["Ann", "ca", "n't"], ["B-per", "O", "O"]) | {TOKEN_LINES: [2, 4, 5]})
    ]


def test_the_columns_of_conll_u_plus_have_names() -> None:
    body = b"# global.columns = ID FORM PARSEME:MWE\n# text = a\n1\tAnn\t*\n2\tgoes\t1:VPC\n"
    expected = [(3, sentence(["Ann", "goes"], ["*", "1:VPC"]))]
    assert records(body) == records(body, tokens="FORM", tags="parseme:mwe") == expected


def test_comments_of_other_dialects_are_no_sentences() -> None:
    body = b"#begin document (a);\n# id 3da domain=en\nAnn O\n\n# id 3db domain=en\nis O\n\n#end document\n"
    assert [record["tokens"] for _, record in records(body)] == [["Ann"], ["is"]]


def test_a_number_sign_may_be_a_token() -> None:
    body = b"#tag O\n# O\n\n# O\n1 O\n#x O\n"
    assert [record["tokens"] for _, record in records(body)] == [["#tag", "#"], ["#", "1", "#x"]]


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
