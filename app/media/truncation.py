"""Whether a media file ends before its header says, by the lengths that its container declares."""

import struct
from collections.abc import Callable, Iterator

UNKNOWN_LENGTH = 0xFFFFFFFF  # of a chunk of a file that was written while it was recorded
MP4_BODIES = (b"mdat", b"moov", b"moof")
EBML_HEADER, SEGMENT = 0x1A45DFA3, 0x18538067
OGG_HEADER_BYTES, MAX_OGG_PAGE_BYTES = 27, 27 + 255 + 255 * 255
XING_OFFSETS = (4 + 9, 4 + 17, 4 + 32)  # in the first frame of an MP3 file, by its version and channels
XING_HAS_FRAMES, XING_HAS_BYTES = 1, 2
GIF_TRAILER = b";"


def is_cut_off(view: memoryview, container: str) -> bool:
    """Whether a file, whose container `detect_container` has named, has less than its header declares.

    False where the header declares nothing.
    """
    check = CHECKS.get(container)
    return check is not None and check(view)


def riff_chunks(view: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Kind, position and size of the chunks of a RIFF file, as far as they can be followed."""
    return _chunks(view, "<")


def _chunks(view: memoryview, order: str) -> Iterator[tuple[bytes, int, int]]:
    position = 12
    while position + 8 <= len(view):
        kind, size = struct.unpack_from(f"{order}4sI", view, position)
        yield kind, position + 8, size
        position += 8 + size + size % 2


def _is_riff_cut(view: memoryview) -> bool:
    return _is_body_cut(view, _chunks(view, ">" if bytes(view[:4]) == b"RIFX" else "<"), b"data")


def _is_avi_cut(view: memoryview) -> bool:
    lists = ((bytes(view[start : start + 4]), start, size) for _, start, size in riff_chunks(view))
    return _is_body_cut(view, lists, b"movi")


def _is_aiff_cut(view: memoryview) -> bool:
    return _is_body_cut(view, _chunks(view, ">"), b"SSND")


def _is_body_cut(view: memoryview, chunks: Iterator[tuple[bytes, int, int]], body: bytes) -> bool:
    for kind, start, size in chunks:
        if kind == body:
            return size != UNKNOWN_LENGTH and start + size > len(view)
    return False


def _is_au_cut(view: memoryview) -> bool:
    if len(view) < 12:
        return False
    start, size = struct.unpack_from(">II" if bytes(view[:4]) == b".snd" else "<II", view, 4)
    return bool(size != UNKNOWN_LENGTH and start + size > len(view))


def _is_mp4_cut(view: memoryview) -> bool:
    position = 0
    while position + 16 <= len(view):
        size, kind = struct.unpack_from(">I4s", view, position)
        if size == 1:
            (size,) = struct.unpack_from(">Q", view, position + 8)
        if size < 8:  # 0: up to the end of the file
            return False
        position += size
        if position > len(view):
            return kind in MP4_BODIES  # else it is no box: something was added at the end
    return False


def _is_matroska_cut(view: memoryview) -> bool:
    position = 0
    for expected in (EBML_HEADER, SEGMENT):
        if position + 4 >= len(view) or int.from_bytes(view[position : position + 4]) != expected:
            return False
        first = view[position + 4]
        width = 9 - first.bit_length()  # of the length: as many bytes as there are leading zeros, and one
        value = int.from_bytes(view[position + 4 : position + 4 + width]) & ((1 << 7 * width) - 1)
        if width > 8 or value == (1 << 7 * width) - 1:  # unknown
            return False
        position += 4 + width + value
    return position > len(view)


def _is_ogg_cut(view: memoryview) -> bool:
    """Whether the last page is incomplete."""
    tail = bytes(view[-MAX_OGG_PAGE_BYTES:])
    start = tail.rfind(b"OggS")
    if start < 0:
        return False
    table = start + OGG_HEADER_BYTES
    if table > len(tail):
        return True
    segments = tail[table : table + tail[table - 1]]
    return table + tail[table - 1] + sum(segments) > len(tail)


def _is_mp3_cut(view: memoryview) -> bool:
    for offset in XING_OFFSETS:
        if bytes(view[offset : offset + 4]) not in (b"Xing", b"Info") or len(view) < offset + 16:
            continue
        (flags,) = struct.unpack_from(">I", view, offset + 4)
        (size,) = struct.unpack_from(">I", view, offset + (12 if flags & XING_HAS_FRAMES else 8))
        return bool(flags & XING_HAS_BYTES) and size > len(view)
    return False


def _is_gif_cut(view: memoryview) -> bool:
    return not bytes(view[-64:]).rstrip(b"\0").endswith(GIF_TRAILER)


CHECKS: dict[str, Callable[[memoryview], bool]] = {
    "WAV": _is_riff_cut,
    "AIFF": _is_aiff_cut,
    "AU": _is_au_cut,
    "MP4": _is_mp4_cut,
    "Matroska": _is_matroska_cut,
    "OGG": _is_ogg_cut,
    "MP3": _is_mp3_cut,
    "an AVI video": _is_avi_cut,
    "a GIF image": _is_gif_cut,
}
