"""A plain text as the reader gives it: every line, blank ones too, and a place for what is no text."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, lines, open_source
from app.tasks.source import Faults, Source

PATHS = TemporaryDirectory()  # for properties, which share no fixture between examples
LINES = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=8)


def source(body: bytes, columns: dict[str, str] | None = None) -> Source:
    path = Path(PATHS.name) / "content"
    path.write_bytes(body)
    return open_source(path, "txt", Mapping.checked(columns or {}, ("text", "split")), Faults())


def text(body: bytes) -> str:
    [(line, record)] = source(body).records()
    assert line == 1
    assert record.keys() == {"text"}
    return str(record["text"])


@given(st.lists(LINES, max_size=12), st.booleans(), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_a_text_comes_back_with_its_blank_lines(
    content: list[str], bom: bool, closed: bool, end: str
) -> None:
    written = end.join(content) + end * closed
    if written.startswith("\ufeff"):
        return  # that is the mark itself
    assert text(b"\xef\xbb\xbf" * bom + written.encode()) == written.replace("\r\n", "\n")


def test_a_carriage_return_within_a_line_stays() -> None:
    assert text(b"a\rb\r\n\r\nc\r\r\n") == "a\rb\n\nc\r\n"


@given(st.integers(1, 30))
def test_pieces_of_any_size_are_whole_lines_with_their_numbers(block: int) -> None:
    body = "".join(f"Zeile {index} äöü\n" + "\n" * (index % 3) for index in range(9)) + "Ende"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "READ_BLOCK_BYTES", block)
        chunks = list(source(body.encode()).chunks())
    pieces = [str(chunk.columns["text"][0]) for chunk in chunks]
    assert "".join(pieces) == body
    assert all(piece.endswith("\n") for piece in pieces[:-1])
    before = 0
    for chunk, piece in zip(chunks, pieces, strict=True):
        assert chunk.rows.tolist() == [before + 1]
        before += piece.count("\n")


def test_a_single_line_may_be_huge_but_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "READ_BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 15)
    assert text(b"a" * (1 << 15)) == "a" * (1 << 15)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 20)
    assert len(text(b"one\n" + b"a" * (1 << 20))) == (1 << 20) + 4
    with pytest.raises(DatasetInvalid, match="longer than 1 MiB") as caught:
        text(b"one\n" + b"a" * ((1 << 20) + (1 << 11)))
    assert caught.value.problems[0].pointer == "/file/row/2"


@pytest.mark.parametrize(
    ("body", "row", "word"),
    [
        (b"one\ntwo\ncaf\xe9\n", 3, "0xE9"),
        (b"one\n\n\x00\n", 3, "NUL"),
        ("one\n".encode("utf-16"), 1, "UTF-16"),
        (b"one\n\xed\xa0\x80", 2, "0xED"),
    ],
)
def test_what_is_no_text_has_a_line(body: bytes, row: int, word: str) -> None:
    with pytest.raises(DatasetInvalid, match=word) as caught:
        text(body)
    assert caught.value.problems[0].pointer == f"/file/row/{row}"


def test_a_text_has_no_columns_to_name() -> None:
    with pytest.raises(DatasetInvalid, match="no columns") as caught:
        source(b"one\n", {"text": "body", "split": "part"})
    assert [problem.pointer for problem in caught.value.problems] == ["/columns/text", "/columns/split"]
