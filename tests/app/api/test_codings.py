"""Compressed bodies on every kind of route: the same content, within limits on size and ratio."""

import asyncio
import gzip
import random
import zlib
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.types import Message

from app.api import problems
from app.api.codings import MAX_DECODED_RATIO, PIECE_BYTES, RATIO_FREE_BYTES, UnsupportedCoding, decoded
from app.api.middleware import RequestIdMiddleware
from app.errors import Invalid, TooLarge
from tests.support.fakes.asgi import Asgi


def messages(content: bytes, size: int) -> Iterator[Message]:
    for start in range(0, max(len(content), 1), size):
        more = start + size < len(content)
        yield {"type": "http.request", "body": content[start : start + size], "more_body": more}
    yield {"type": "http.disconnect"}


def read(content: bytes, coding: bytes, size: int = 1 << 16) -> bytes:
    """The body behind a coding, whose pieces are bounded, and the disconnect behind it."""
    source = messages(content, size)

    async def receive() -> Message:
        return next(source)

    async def scenario() -> bytes:
        wrapped, parts = decoded(receive, {b"content-encoding": coding}), list[bytes]()
        while True:
            message = await wrapped()
            parts.append(message["body"])
            assert len(parts[-1]) <= max(PIECE_BYTES, size)
            if not message["more_body"]:
                assert (await wrapped())["type"] == "http.disconnect"
                return b"".join(parts)

    return asyncio.run(scenario())


TEXT = b"".join(b"%d,2024-01-01,%d\n" % (number, number % 7) for number in range(60_000))


NOISE = random.Random(0).randbytes(3 * PIECE_BYTES)  # noqa: S311 - no secret


def zstd(data: bytes) -> bytes:
    frame: bytes = pa.compress(data, "zstd", asbytes=True)
    return frame


PACKERS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"zstd": zstd}


@pytest.fixture(params=PACKERS)
def coding(request: pytest.FixtureRequest) -> bytes:
    name: bytes = request.param
    return name


SKIPPED_FRAME = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"  # RFC 8878, 3.1.2


@pytest.mark.parametrize("size", [1, 700, 1 << 16, 1 << 24])
@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (b"gzip", gzip.compress(TEXT[:5000])),
        (b"x-gzip", gzip.compress(TEXT[:5000])),
        (b"GZIP", gzip.compress(TEXT[:2500]) + gzip.compress(TEXT[2500:5000])),
        (b"deflate", zlib.compress(TEXT[:5000])),
        (b"identity", TEXT[:5000]),
        (b"identity, gzip ", gzip.compress(TEXT[:5000])),
        (b"zstd", zstd(TEXT[:5000])),
        (b"Zstd", zstd(TEXT[:2500]) + SKIPPED_FRAME + zstd(TEXT[2500:5000])),
    ],
    ids=["gzip", "x-gzip", "joined", "deflate", "identity", "list", "zstd", "frames"],
)
def test_the_content_is_what_was_packed(coding: bytes, packed: bytes, size: int) -> None:
    assert read(packed, coding, size) == TEXT[:5000]


@pytest.mark.parametrize(
    "content",
    [b"", b"x", TEXT, b"\0" * PIECE_BYTES, NOISE],
    ids=["empty", "byte", "text", "zeros", "noise"],
)
def test_pieces_join_to_the_whole(content: bytes, coding: bytes) -> None:
    assert read(PACKERS[coding](content), coding) == content


def test_an_empty_body_has_no_stream(coding: bytes) -> None:
    assert read(b"", coding) == b""


@pytest.mark.parametrize("damage", ["plain", "cut", "longer"])
def test_a_damaged_body_is_refused(coding: bytes, damage: str) -> None:
    pack = PACKERS[coding]
    content = {"plain": b"{}", "cut": pack(TEXT)[:-1], "longer": pack(b"{}") + b"more"}[damage]
    with pytest.raises(Invalid, match=coding.decode()):
        read(content, coding)


def test_a_bomb_is_refused_early(coding: bytes) -> None:
    with pytest.raises(TooLarge, match=f"{MAX_DECODED_RATIO} times"):
        read(PACKERS[coding](b"\0" * (4 * RATIO_FREE_BYTES)), coding)
    assert len(read(PACKERS[coding](b"\0" * RATIO_FREE_BYTES), coding)) == RATIO_FREE_BYTES


def test_a_frame_that_needs_much_memory_is_refused_as_one() -> None:
    def frame(window_log: int) -> bytes:  # RFC 8878, 3.1.1: a magic number, a window, one block as it is
        return b"\x28\xb5\x2f\xfd\x00" + bytes([window_log - 10 << 3, 3 << 3 | 1, 0, 0]) + b"abc"

    assert read(frame(23), b"zstd") == b"abc"
    with pytest.raises(Invalid, match="larger than 8 MiB"):
        read(frame(24), b"zstd")


@pytest.mark.parametrize("coding", [b"br", b"compress", b"gzip, gzip", b"gzip, zstd", b"magic"])
def test_other_codings_are_named(coding: bytes) -> None:
    with pytest.raises(UnsupportedCoding, match=coding.decode()):
        read(b"", coding)


class Numbers(BaseModel):
    """A body."""

    numbers: list[int]


async def length(request: Request) -> dict[str, int | None]:
    size = request.headers.get("content-length")
    return {"bytes": len(await request.body()), "content-length": None if size is None else int(size)}


def total(body: Numbers) -> int:
    return sum(body.numbers)


@pytest.fixture(scope="module")
def http() -> Asgi:
    app = FastAPI()
    app.post("/length")(length)
    app.put("/total")(total)
    app.post("/total")(total)
    problems.install(app)
    app.add_middleware(RequestIdMiddleware)
    return Asgi(app)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_routes_see_bodies_without_their_coding(http: Asgi, method: str, coding: bytes) -> None:
    headers = {"Content-Encoding": coding.decode(), "Content-Type": "application/json"}
    body = PACKERS[coding](b'{"numbers": [1, 2, 4]}')
    assert http.request(method, "/total", content=body, headers=headers).json() == 7
    answer = http.post("/length", content=PACKERS[coding](TEXT), headers=headers)
    assert answer.json() == {"bytes": len(TEXT), "content-length": None}


def test_errors_are_problems(http: Asgi) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    damaged = http.post("/total", content=b"{}", headers=headers)
    assert (damaged.status_code, damaged.headers["content-type"]) == (422, "application/problem+json")
    assert "not gzip, as Content-Encoding says" in damaged.json()["detail"]
    other = http.post("/total", content=b"{}", headers=headers | {"Content-Encoding": "br"})
    assert (other.status_code, other.json()["type"]) == (415, "/problems/unsupported-media-type")
    assert "Content-Encoding: br is not read" in other.json()["detail"]
    assert other.headers["accept-encoding"] == "gzip, deflate, zstd"
    assert other.json()["request_id"] == other.headers["x-request-id"]
