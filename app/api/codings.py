"""Content codings of request bodies (RFC 9110, 8.4): read piece by piece, bounded in size and in ratio."""

import asyncio
import zlib
from collections.abc import Mapping

from starlette.types import Message, Receive

from app.errors import Invalid, TooLarge, UnsupportedMediaType

GZIP, GZIP_OR_ZLIB = {b"gzip", b"x-gzip"}, 47  # window bits for zlib: the header says which of the two
ACCEPTED_CODINGS = "gzip, deflate"
PIECE_BYTES = 1 << 18  # that are decompressed at once
MAX_DECODED_RATIO, RATIO_FREE_BYTES = 200, 1 << 20  # what is not larger may have any ratio


class UnsupportedCoding(UnsupportedMediaType):
    """The body has a content coding that is not read here."""


def decoded(receive: Receive, headers: Mapping[bytes, bytes]) -> Receive:
    """`receive` without the body's content coding; raises `UnsupportedCoding`.

    What is returned raises `Invalid` for a damaged body and `TooLarge` for one that unpacks to very much.
    """
    header = headers.get(b"content-encoding")
    if header is None:
        return receive
    codings = [coding.strip() for coding in header.lower().split(b",")]
    codings = [coding for coding in codings if coding not in (b"", b"identity")]
    if not codings:
        return receive
    if len(codings) > 1 or codings[0] not in GZIP | {b"deflate"}:
        raise UnsupportedCoding(
            f"Content-Encoding: {header.decode('latin-1')} is not read; send {ACCEPTED_CODINGS}, or no coding"
        )
    return _Decoder(receive, codings[0].decode())


class _Decoder:
    """The body of a request, decompressed: each message has at most `PIECE_BYTES`."""

    def __init__(self, receive: Receive, coding: str) -> None:
        self._receive, self._coding = receive, coding
        self._stream = zlib.decompressobj(GZIP_OR_ZLIB)
        self._rest = b""  # compressed, not yet read
        self._pending = False  # whether what has come may unpack to more
        self._ended = self._done = False  # the compressed bytes; the whole body
        self._packed = self._unpacked = 0

    async def __call__(self) -> Message:
        """The next message."""
        if self._done:
            return await self._receive()  # the end of the connection
        if not self._pending:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._rest = message.get("body", b"")
            self._packed += len(self._rest)
            self._pending, self._ended = bool(self._rest), not message.get("more_body")
        body = await asyncio.to_thread(self._decompress) if self._pending else b""
        self._done = self._ended and not self._pending
        if self._done and self._packed and not self._stream.eof:
            raise Invalid(f"The body ends within its {self._coding} stream")
        return {"type": "http.request", "body": body, "more_body": not self._done}

    def _decompress(self) -> bytes:
        if self._stream.eof:  # streams may be joined: what follows is another one
            self._stream = zlib.decompressobj(GZIP_OR_ZLIB)
        try:
            piece = self._stream.decompress(self._rest, PIECE_BYTES)
        except zlib.error as error:
            raise Invalid(f"The body is not {self._coding}, as Content-Encoding says: {error}") from None
        self._rest = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        # A full piece may leave some bytes within the stream itself.
        self._pending = bool(self._rest) or (not self._stream.eof and len(piece) == PIECE_BYTES)
        self._unpacked += len(piece)
        if self._unpacked > max(RATIO_FREE_BYTES, MAX_DECODED_RATIO * self._packed):
            raise TooLarge(f"The body unpacks to more than {MAX_DECODED_RATIO} times its size")
        return piece
