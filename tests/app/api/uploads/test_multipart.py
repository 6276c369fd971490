"""Multipart bodies straight to disk: however they are cut, whatever they hold, however they are broken."""

import asyncio
import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.api.uploads.multipart import (
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    WRITE_BLOCK_BYTES,
    UploadForm,
    receive_upload,
)
from app.errors import Invalid, NoSpace, TooLarge

BOUNDARY = b"b0und"
TYPE = "multipart/form-data; boundary=b0und"
ROOM = 1 << 30


def part(name: bytes, content: bytes, filename: bytes | None = None) -> bytes:
    pointer = b'Content-Disposition: form-data; name="%b"' % name
    if filename is not None:
        pointer += b'; filename="%b"' % filename
    return pointer + b"\r\n\r\n" + content


def whole(*parts: bytes) -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (BOUNDARY, one) for one in parts) + b"--%b--\r\n" % BOUNDARY


def request(pieces: Sequence[bytes], kind: str = TYPE, cut_off: bool = False, **headers: str) -> Request:
    """A request whose body arrives in these pieces; one that is cut off never comes to its end."""
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if cut_off else {"type": "http.request", "body": b""})
    coming = iter(messages)

    async def take() -> Message:
        return next(coming)

    named = {"content-type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, take)


def received(path: Path, *pieces: bytes, limit: int = ROOM, kind: str = TYPE) -> UploadForm:
    return asyncio.run(receive_upload(request(pieces, kind), path, limit))


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(pointer % (len(body) + 1) for pointer in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("multipart")


TREACHEROUS = [
    b"\r\n",
    b"\r",
    b"\n",
    b"-",
    b"--",
    b"--b0un",
    b"\r\n--b0un",
    b"--b0und",
    b"\r\n--",
    b"b0und--",
]
CONTENT = (
    st.lists(st.sampled_from(TREACHEROUS) | st.binary(max_size=12), max_size=12)
    .map(b"".join)
    .filter(lambda content: b"\r\n--b0und" not in b"\r\n" + content)
)


@given(
    content=CONTENT, value=st.text(max_size=20), after=st.booleans(), places=st.lists(st.integers(0, 10_000))
)
def test_any_cut_of_any_body_is_the_same_upload(
    directory: Path, content: bytes, value: str, after: bool, places: list[int]
) -> None:
    if "\r\n--b0und" in "\r\n" + value:
        return
    parts = [part(b"task", value.encode()), part(b"file", content, b"f.csv")]
    body = whole(*(parts if after else parts[::-1]))
    form = received(directory / "any", *cut(body, places))
    assert form.path.read_bytes() == content
    assert (form.bytes, form.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (form.fields, form.filename) == ({"task": value}, "f.csv")


def test_a_body_may_come_byte_by_byte(tmp_path: Path) -> None:
    content = b"\r\n--b0unx\r\n--b0un" * 3
    body = whole(part(b"a", b"1"), part(b"file", content, b"f"), part(b"b", b"2"))
    form = received(tmp_path / "f", *(body[k : k + 1] for k in range(len(body))))
    assert form.path.read_bytes() == content
    assert form.fields == {"a": "1", "b": "2"}


def test_a_large_file_is_written_while_it_comes(tmp_path: Path) -> None:
    block = bytes(range(256)) * (WRITE_BLOCK_BYTES // 512)  # half of what is written at once
    sizes: list[int] = []
    head, _, tail = whole(part(b"file", b"@", b"f")).partition(b"@")
    coming = iter([head, *[block] * 6, tail])

    async def take() -> Message:
        sizes.append((tmp_path / "f").stat().st_size)
        piece = next(coming, b"")
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    made = request([])
    made._receive = take
    form = asyncio.run(receive_upload(made, tmp_path / "f", ROOM))
    assert form.path.read_bytes() == block * 6
    assert sizes == sorted(sizes)
    assert sizes[4] >= 2 * len(block)
    assert all(7 * len(block) - size > 0 for size in sizes)


def test_an_empty_file_and_empty_fields_are_what_they_are(tmp_path: Path) -> None:
    form = received(tmp_path / "f", whole(part(b"file", b"", b"empty.csv"), part(b"name", b"")))
    assert (form.bytes, form.sha256) == (0, hashlib.sha256(b"").hexdigest())
    assert (form.filename, form.fields) == ("empty.csv", {"name": ""})


def test_a_form_without_a_file_has_no_file_name(tmp_path: Path) -> None:
    assert received(tmp_path / "f", whole(part(b"task", b"x"))).filename is None
    assert received(tmp_path / "f", b"--b0und--\r\n").fields == {}


def test_what_stands_around_the_parts_is_not_read(tmp_path: Path) -> None:
    form = received(tmp_path / "f", b"\r\n", whole(part(b"file", b"x", b"f")), b"epilogue\r\n")
    assert form.path.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("größe.csv".encode(), "größe.csv"),
        ("数据.csv".encode(), "数据.csv"),
        (rb"a \"b\" c.csv", 'a "b" c.csv'),
        (b"a;b=c.csv", "a;b=c.csv"),
        (b"../../etc/passwd", "../../etc/passwd"),  # the route takes the last part
        (b"\xff\xfe.csv", "\ufffd\ufffd.csv"),
        (b"", ""),
    ],
)
def test_a_file_name_is_read_as_it_was_meant(tmp_path: Path, sent: bytes, name: str) -> None:
    assert received(tmp_path / "f", whole(part(b"file", b"x", sent))).filename == name


def test_headers_are_known_in_any_case_and_the_strange_ones_ignored(tmp_path: Path) -> None:
    headers = (
        b"X-Odd: 1\r\nCONTENT-disposition: form-data; name=file; filename=f\r\nContent-Type: x/y\r\n\r\n"
    )
    form = received(tmp_path / "f", whole(headers + b"data"))
    assert (form.filename, form.path.read_bytes()) == ("f", b"data")


def test_a_part_without_a_name_becomes_an_unknown_field(tmp_path: Path) -> None:
    form = received(tmp_path / "f", whole(b"Content-Type: text/plain\r\n\r\nlost"))
    assert form.fields == {"": "lost"}


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ([part(b"file", b"1", b"a"), part(b"file", b"2", b"b")], "/file"),
        ([part(b"task", b"1"), part(b"task", b"2")], "/task"),
        ([part(b"f%d" % k, b"") for k in range(MAX_FIELDS + 1)], f"/f{MAX_FIELDS}"),
        ([part(b"name", b"\xff\xfe")], "/name"),
        ([part(b"a/b~c", b"1"), part(b"a/b~c", b"2")], "/a~1b~0c"),
    ],
)
def test_a_part_that_cannot_be_taken_is_named(tmp_path: Path, parts: list[bytes], pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        received(tmp_path / "f", whole(*parts))
    assert [problem.pointer for problem in caught.value.problems] == [pointer]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--other\r\n\r\n--other--",
        b"--b0und",
        b"--b0und\r\nContent-Disposition",
        b"--b0und\r\nbroken header\r\n\r\nx\r\n--b0und--",
        b"--b0und\r\n" + part(b"file", b"cut in the file", b"f"),
        b"--b0und\r\n" + part(b"file", b"x", b"f") + b"\r\n--b0un",
        b"--b0und\r\n" + part(b"file", b"x", b"f") + b"\r\n--b0und\r\n",
        whole(part(b"file", b"x", b"f"))[:-3],
        b"--b0und\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n--b0und--",
        b"--b0und\r\n" + b"X-Many: 1\r\n" * 5000 + b"\r\nx\r\n--b0und--",
    ],
)
def test_a_broken_body_is_never_an_upload(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(Invalid, match="multipart body is broken"):
        received(tmp_path / "f", body)


@given(body=st.binary(max_size=60) | CONTENT, places=st.lists(st.integers(0, 100), max_size=4))
def test_noise_is_refused_and_never_a_fault_of_ours(directory: Path, body: bytes, places: list[int]) -> None:
    try:
        form = received(directory / "noise", *cut(b"--b0und\r\n" + body, places))
    except Invalid:
        return
    assert form.filename is None or b"filename" in body or b"file" in body


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=b",
    ],
)
def test_another_content_type_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(Invalid) as caught:
        received(tmp_path / "f", b"", kind=kind)
    assert caught.value.problems[0].pointer == "/header/Content-Type"
    assert not (tmp_path / "f").exists()


def test_a_quoted_boundary_is_a_boundary(tmp_path: Path) -> None:
    kind = 'multipart/form-data; charset=utf-8; boundary="b0und"'
    assert received(tmp_path / "f", whole(part(b"file", b"x", b"f")), kind=kind).bytes == 1


def test_the_limit_is_exact_and_is_noticed_before_the_end(tmp_path: Path) -> None:
    assert received(tmp_path / "f", whole(part(b"file", b"x" * 100, b"f")), limit=100).bytes == 100
    with pytest.raises(TooLarge):
        received(tmp_path / "f", whole(part(b"file", b"x" * 101, b"f")), limit=100)
    head = whole(part(b"file", b"@", b"f")).partition(b"@")[0]
    endless = request([head, *[b"x" * WRITE_BLOCK_BYTES] * 50])
    with pytest.raises(TooLarge):
        asyncio.run(receive_upload(endless, tmp_path / "g", 3 * WRITE_BLOCK_BYTES))
    assert (tmp_path / "g").stat().st_size <= 3 * WRITE_BLOCK_BYTES


def test_an_announced_length_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    huge = request([], content_length=str(10 << 30))
    with pytest.raises(TooLarge):
        asyncio.run(receive_upload(huge, tmp_path / "f", 1000))
    assert not (tmp_path / "f").exists()


def test_a_field_has_a_limit_of_its_own(tmp_path: Path) -> None:
    assert (
        len(received(tmp_path / "f", whole(part(b"n", b"x" * MAX_FIELD_BYTES))).fields["n"])
        == MAX_FIELD_BYTES
    )
    with pytest.raises(TooLarge, match="field n"):
        received(tmp_path / "f", whole(part(b"n", b"x" * (MAX_FIELD_BYTES + 1))))


@pytest.mark.parametrize("size", [1, 5000, 3 * WRITE_BLOCK_BYTES])
def test_a_full_disk_is_reported_as_such(size: int) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(NoSpace):
        received(full, whole(part(b"file", b"x" * size, b"f")))


def test_another_fault_of_the_disk_is_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        received(tmp_path, whole(part(b"file", b"x", b"f")))


def test_a_client_that_goes_away_is_no_upload(tmp_path: Path) -> None:
    body = whole(part(b"file", b"x" * 50, b"f"))
    with pytest.raises(ClientDisconnect):
        asyncio.run(receive_upload(request([body[:80]], cut_off=True), tmp_path / "f", ROOM))


def test_the_last_line_break_may_be_missing(tmp_path: Path) -> None:
    assert received(tmp_path / "f", whole(part(b"file", b"x", b"f")).removesuffix(b"\r\n")).bytes == 1
