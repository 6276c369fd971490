"""Multipart uploads, streamed to disk: bounded, hashed and counted on the way, never held in memory."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from app.errors import Invalid, NoSpace, Problem, TooLarge, pointer
from app.infrastructure.disk import is_disk_full
from app.thread_pools import UPLOADED_PIECES

MAX_FIELD_BYTES = 64 << 10
MAX_FIELDS = 16
WRITE_BLOCK_BYTES = 1 << 20


@dataclass
class UploadForm:
    """A form that was received: its text fields, and the file, which is now at `path`."""

    path: Path
    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    bytes: int = 0
    sha256: str = ""


class _Receiver:
    """Callbacks of the parser; the caller writes `pending` to disk, in a thread."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.name = self.value = b""
        self.part = ""
        self.filename: str | None = None
        self.in_file = False
        self.pending: list[bytes] = []
        self.fields: dict[str, bytearray] = {}

    def on_part_begin(self) -> None:
        self.headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def on_header_end(self) -> None:
        self.headers[self.name.lower()] = self.value
        self.name = self.value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self.headers.get(b"content-disposition", b""))
        self.part = options.get(b"name", b"").decode("utf-8", "replace")
        self.in_file = self.part == "file"
        if self.in_file:
            if self.filename is not None:
                raise Invalid(problems=[Problem("/file", "sent twice")])
            self.filename = options.get(b"filename", b"file").decode("utf-8", "replace")
        elif self.part in self.fields or len(self.fields) >= MAX_FIELDS:
            raise Invalid(problems=[Problem(pointer(self.part), "sent twice, or too many fields")])
        else:
            self.fields[self.part] = bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.in_file:
            self.pending.append(data[start:end])
            return
        self.fields[self.part] += data[start:end]
        if len(self.fields[self.part]) > MAX_FIELD_BYTES:
            raise TooLarge(f"The field {self.part} may have {MAX_FIELD_BYTES} bytes")

    def callbacks(self) -> dict[str, object]:
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data")
        return {f"on_{name}": getattr(self, f"on_{name}") for name in names}


async def receive_upload(request: Request, path: Path, limit: int) -> UploadForm:
    """Stream a `multipart/form-data` body; its part `file` goes to `path`. Raises `TooLarge` past `limit`."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise Invalid(
            problems=[Problem("/header/Content-Type", "must be multipart/form-data with a boundary")]
        )
    if int(request.headers.get("content-length", "0") or 0) > limit + (MAX_FIELDS + 1) * MAX_FIELD_BYTES:
        raise _too_large(limit)
    receiver = _Receiver()
    parser = MultipartParser(boundary, receiver.callbacks())  # type: ignore[arg-type]
    form, digest = UploadForm(path), hashlib.sha256()
    try:
        with path.open("wb") as file:
            async for piece in request.stream():
                parser.write(piece)
                if sum(map(len, receiver.pending)) >= WRITE_BLOCK_BYTES:
                    await _flush(receiver, form, file, digest, limit)
            await _flush(receiver, form, file, digest, limit)
        _check_end(parser)
    except FormParserError as error:
        raise Invalid(f"The multipart body is broken: {error}", [Problem("", str(error))]) from None
    except OSError as error:  # of a write, or of the close that flushes the rest
        if is_disk_full(error):
            raise NoSpace from error
        raise
    form.filename, form.sha256 = receiver.filename, digest.hexdigest()
    form.fields = {name: _text(name, value) for name, value in receiver.fields.items()}
    return form


def _too_large(limit: int) -> TooLarge:
    detail = f"An upload may have {limit} bytes"
    return TooLarge(detail, [Problem("/file", detail)])


def _check_end(parser: MultipartParser) -> None:
    if parser.state != MultipartState.END:  # the parser's own finalize() does not check this
        raise FormParserError("it ends before its last boundary")


async def _flush(
    receiver: _Receiver, form: UploadForm, file: BinaryIO, digest: "hashlib._Hash", limit: int
) -> None:
    data = b"".join(receiver.pending)
    receiver.pending.clear()
    form.bytes += len(data)
    if form.bytes > limit:
        raise _too_large(limit)
    await UPLOADED_PIECES.run(_write, file, digest, data)


def _write(file: BinaryIO, digest: "hashlib._Hash", data: bytes) -> None:
    file.write(data)
    digest.update(data)


def _text(name: str, value: bytearray) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid(problems=[Problem(pointer(name), "not UTF-8")]) from None
