"""Compressed bodies on every kind of route: the same content, within limits on size and ratio."""

import asyncio
import gzip
import random
import zlib
from collections.abc import Iterator

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
    ],
    ids=["gzip", "x-gzip", "joined", "deflate", "identity", "list"],
)
def test_the_content_is_what_was_packed(coding: bytes, packed: bytes, size: int) -> None:
    assert read(packed, coding, size) == TEXT[:5000]


@pytest.mark.parametrize(
    "content",
    [b"", b"x", TEXT, b"\0" * PIECE_BYTES, NOISE],
    ids=["empty", "byte", "text", "zeros", "noise"],
)
def test_pieces_join_to_the_whole(content: bytes) -> None:
    assert read(gzip.compress(content), b"gzip") == content


def test_an_empty_body_has_no_stream() -> None:
    assert read(b"", b"gzip") == b""


@pytest.mark.parametrize(
    "content",
    [b"{}", gzip.compress(TEXT)[:-1], gzip.compress(b"{}") + b"more"],
    ids=["plain", "cut", "longer"],
)
def test_a_damaged_body_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid, match="gzip"):
        read(content, b"gzip")


def test_a_bomb_is_refused_early() -> None:
    with pytest.raises(TooLarge, match=f"{MAX_DECODED_RATIO} times"):
        read(gzip.compress(b"\0" * (4 * RATIO_FREE_BYTES)), b"gzip")
    assert len(read(gzip.compress(b"\0" * RATIO_FREE_BYTES), b"gzip")) == RATIO_FREE_BYTES


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"compress", b"gzip, gzip", b"gzip, deflate", b"magic"])
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
def test_routes_see_bodies_without_their_coding(http: Asgi, method: str) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    body = gzip.compress(b'{"numbers": [1, 2, 4]}')
    assert http.request(method, "/total", content=body, headers=headers).json() == 7
    answer = http.post("/length", content=gzip.compress(TEXT), headers=headers)
    assert answer.json() == {"bytes": len(TEXT), "content-length": None}


def test_errors_are_problems(http: Asgi) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    damaged = http.post("/total", content=b"{}", headers=headers)
    assert (damaged.status_code, damaged.headers["content-type"]) == (422, "application/problem+json")
    assert "not gzip, as Content-Encoding says" in damaged.json()["detail"]
    other = http.post("/total", content=b"{}", headers=headers | {"Content-Encoding": "zstd"})
    assert (other.status_code, other.json()["type"]) == (415, "/problems/unsupported-media-type")
    assert "zstd" in other.json()["detail"]
    assert other.headers["accept-encoding"] == "gzip, deflate"
    assert other.json()["request_id"] == other.headers["x-request-id"]
