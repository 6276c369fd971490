"""The lines of a text file as strings, decoded by blocks; the first byte that is not UTF-8 is reported."""

from collections.abc import Iterator
from io import StringIO
from itertools import chain
from typing import BinaryIO

from app.tasks.source import Faults
from app.validation.file_kinds import BOM

READ_BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 64 << 20
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def read_lines(file: BinaryIO, faults: Faults, max_line_bytes: int | None = None) -> Iterator[str]:
    """Yield each line with its line end; lines end at LF only.

    Bytes that are not text, and a line that is too long, are a fault at which reading ends.
    """
    blocks = read_blocks(file, faults, max_line_bytes)
    return chain.from_iterable(StringIO(block, newline="\n") for block in blocks)


def read_blocks(file: BinaryIO, faults: Faults, max_line_bytes: int | None = None) -> Iterator[str]:
    """Yield the text in blocks of whole lines, with the same faults as `read_lines`."""
    line = 1
    for block in _whole_lines(file, faults, max_line_bytes or MAX_LINE_BYTES):
        yield _decode(block, line, faults)
        line += block.count(b"\n")


def _whole_lines(file: BinaryIO, faults: Faults, max_line_bytes: int) -> Iterator[bytes]:
    """Yield blocks of bytes that end after a line end, or at the end of the file."""
    line, size = 1, 0
    pieces: list[bytes] = []  # the beginning of a line that has not ended yet
    start = file.read(len(BOM))
    if start[:2] in UTF16_BOMS:
        faults.add("The file is UTF-16; save it as UTF-8.", row=1)
        faults.check()
    pieces.append(start.removeprefix(BOM))
    while block := file.read(READ_BLOCK_BYTES):
        cut = block.rfind(b"\n") + 1
        if cut:
            whole = b"".join([*pieces, block[:cut]])
            line += whole.count(b"\n")
            pieces, size = [], 0
            yield whole
        pieces.append(block[cut:])
        size += len(block) - cut
        if size > max_line_bytes:
            faults.add(f"The line is longer than {max_line_bytes >> 20} MiB.", row=line)
            faults.check()
    if rest := b"".join(pieces):
        yield rest


def _decode(block: bytes, line: int, faults: Faults) -> str:
    """Decode strict UTF-8 without NUL; `line` is the number of the block's first line."""
    if (nul := block.find(0)) >= 0:
        faults.add("A NUL byte: this is not a text file.", row=line + block.count(b"\n", 0, nul))
        faults.check()
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        detail = f"The byte 0x{block[error.start]:02X} is not UTF-8; save the file as UTF-8."
        faults.add(detail, row=line + block.count(b"\n", 0, error.start))
        faults.check()
        raise
