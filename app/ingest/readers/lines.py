"""The lines of a text file, decoded a mebibyte at a time, with the line of the first byte that is wrong."""

from collections.abc import Iterator
from io import StringIO
from itertools import chain
from pathlib import Path

from app.tasks.contract import Faults

BLOCK = 1 << 20
LONGEST_LINE = 64 << 20  # bytes
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")


def lines(path: Path, faults: Faults) -> Iterator[str]:
    """Give each line with its line end, split at LF only; bytes that are no text are a fault and the end."""
    return chain.from_iterable(StringIO(block, newline="\n") for block in blocks(path, faults))


def blocks(path: Path, faults: Faults) -> Iterator[str]:
    """Give the text in blocks of whole lines; bytes that are no text are a fault and the end."""
    line = 1
    for block in _whole_lines(path, faults):
        yield _decode(block, line, faults)
        line += block.count(b"\n")


def _whole_lines(path: Path, faults: Faults) -> Iterator[bytes]:
    """Blocks of bytes that end after a line end, or at the end of the file."""
    line, size = 1, 0
    pieces: list[bytes] = []  # the beginning of a line that has not ended yet
    with path.open("rb") as file:
        start = file.read(len(BOM))
        if start[:2] in UTF16:
            faults.add("The file is UTF-16; save it as UTF-8.", row=1)
            faults.check()
        pieces.append(start.removeprefix(BOM))
        while block := file.read(BLOCK):
            cut = block.rfind(b"\n") + 1
            if cut:
                whole = b"".join([*pieces, block[:cut]])
                line += whole.count(b"\n")
                pieces, size = [], 0
                yield whole
            pieces.append(block[cut:])
            size += len(block) - cut
            if size > LONGEST_LINE:
                faults.add(f"The line is longer than {LONGEST_LINE >> 20} MiB.", row=line)
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
        wrong = f"The byte 0x{block[error.start]:02X} is not UTF-8; save the file as UTF-8."
        faults.add(wrong, row=line + block.count(b"\n", 0, error.start))
        faults.check()
        raise
