"""Content codings of request bodies (RFC 9110, 8.4): read piece by piece, bounded in size and in ratio."""

import sys
import zlib
from collections.abc import Mapping
from typing import Protocol

from starlette.types import Message, Receive

from app.errors import Invalid, TooLarge, UnsupportedMediaType
from app.thread_pools import UNPACKED_PIECES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP_OR_ZLIB = 47  # window bits for zlib: the header says which of the two
MAX_WINDOW_LOG = 23  # of a frame of Zstandard, 8 MiB: RFC 9659 allows a sender no more
ACCEPTED_CODINGS = "gzip, deflate, zstd"
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
    if len(codings) > 1 or codings[0] not in STREAMS:
        raise UnsupportedCoding(
            f"Content-Encoding: {header.decode('latin-1')} is not read; send {ACCEPTED_CODINGS}, or no coding"
        )
    return _Decoder(receive, codings[0])


class _Stream(Protocol):
    """A compressed stream, or a frame, that is read piece by piece."""

    @property
    def ended(self) -> bool:
        """Whether its end has been read."""
        ...

    def decompress(self, packed: bytes) -> tuple[bytes, bytes, bool]:
        """At most `PIECE_BYTES`, the packed bytes to come again with, and whether there may be more."""
        ...


class _ZlibStream:
    """A stream of gzip or zlib."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(GZIP_OR_ZLIB)

    @property
    def ended(self) -> bool:
        return self._stream.eof

    def decompress(self, packed: bytes) -> tuple[bytes, bytes, bool]:
        piece = self._stream.decompress(packed, PIECE_BYTES)
        if self.ended:
            return piece, self._stream.unused_data, bool(self._stream.unused_data)
        rest = self._stream.unconsumed_tail
        return (
            piece,
            rest,
            bool(rest) or len(piece) == PIECE_BYTES,
        )  # some bytes may be left within the stream


class _ZstdFrame:
    """A frame of Zstandard, which keeps the packed bytes that it has not read yet."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
        )

    @property
    def ended(self) -> bool:
        return self._frame.eof

    def decompress(self, packed: bytes) -> tuple[bytes, bytes, bool]:
        piece = self._frame.decompress(packed, PIECE_BYTES)
        if self.ended:
            return piece, self._frame.unused_data, bool(self._frame.unused_data)
        return piece, b"", not self._frame.needs_input


STREAMS: dict[bytes, type[_Stream]] = {
    b"gzip": _ZlibStream,
    b"x-gzip": _ZlibStream,
    b"deflate": _ZlibStream,
    b"zstd": _ZstdFrame,
}


class _Decoder:
    """The body of a request, decompressed: each message has at most `PIECE_BYTES`."""

    def __init__(self, receive: Receive, coding: bytes) -> None:
        self._receive, self._coding, self._open = receive, coding.decode(), STREAMS[coding]
        self._stream = self._open()
        self._rest = b""  # compressed, not yet read
        self._pending = False  # whether what has come may unpack to more
        self._finished = self._done = False  # the compressed bytes; the whole body
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
            self._pending, self._finished = bool(self._rest), not message.get("more_body")
        body = await UNPACKED_PIECES.run(self._decompress) if self._pending else b""
        self._done = self._finished and not self._pending
        if self._done and self._packed and not self._stream.ended:
            raise Invalid(f"The body ends within its {self._coding} stream")
        return {"type": "http.request", "body": body, "more_body": not self._done}

    def _decompress(self) -> bytes:
        if self._stream.ended:  # streams may be joined: what follows is another one
            self._stream = self._open()
        try:
            piece, self._rest, self._pending = self._stream.decompress(self._rest)
        except (zlib.error, zstd.ZstdError) as error:
            raise Invalid(self._damage(str(error))) from None
        self._unpacked += len(piece)
        if self._unpacked > max(RATIO_FREE_BYTES, MAX_DECODED_RATIO * self._packed):
            raise TooLarge(f"The body unpacks to more than {MAX_DECODED_RATIO} times its size")
        return piece

    def _damage(self, reason: str) -> str:
        if "too much memory" in reason:
            return (
                f"The window of the body's {self._coding} frame is larger than {1 << MAX_WINDOW_LOG - 20} MiB"
            )
        return f"The body is not {self._coding}, as Content-Encoding says: {reason}"
