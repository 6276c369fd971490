"""Archives that are hostile whatever their task, and ordinary ones that are easily taken for such."""

import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tests.support.factories import clips, music, recordings
from tests.support.factories.zips import Zip, deflated, info, many, pack, pack_infos, piped

MANIFEST = "manifest.jsonl"
FILES = 8  # in an archive
RANDOM = np.random.default_rng(7)


MANIFEST_BYTES = 4 << 20  # the limit on a manifest that these archives are made for


class Case(NamedTuple):
    """An upload and the answer that it must get."""

    name: str
    task: str
    body: bytes
    pointer: str = "/file"  # with which one of the problems begins
    status: int = 422


@dataclass(frozen=True)
class Kind:
    """A task and the least that its archives have."""

    task: str
    column: str  # of the manifest that names a file
    content: bytes  # of a good file
    others: Callable[[int], dict[str, Any]] = field(default=lambda _: {})  # the rest of a line

    def names(self) -> list[str]:
        """The files of a good archive."""
        return [f"{number}.{self.column}" for number in range(FILES)]

    def lines(self) -> list[dict[str, Any]]:
        """The lines of a good manifest."""
        return [{self.column: name} | self.others(number) for number, name in enumerate(self.names())]

    def manifest(self, *first: Any) -> bytes:
        """A manifest whose first lines are replaced: objects, or bytes as they are."""
        lines = [*first, *self.lines()[len(first) :]]
        return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines)

    def files(self) -> dict[str, bytes]:
        """A good archive's members."""
        return {**dict.fromkeys(self.names(), self.content), MANIFEST: self.manifest()}

    def zip(self, **replaced: Any) -> Zip:
        """A good archive whose first member, named `0`, has these fields, or another `content`."""
        content, made = replaced.pop("content", self.content), Zip()
        for name, good in self.files().items():
            fields = replaced if name == self.names()[0] else {}
            made.add(name.encode(), content if fields or name == self.names()[0] else good, **fields)
        return made

    def member(self, number: int = 0) -> str:
        """The pointer at a member."""
        return f"/file/member/{number}.{self.column}"

    def row(self, number: int = 1) -> str:
        """The pointer at the name of a file in a line."""
        return f"/file/row/{number}/column/{self.column}"


SPEECH = Kind(
    "speech",
    "audio",
    recordings.written(recordings.tone(1.0)),
    lambda number: {"text": "ab"[: number % 2 + 1]},
)
VIDEO = Kind(
    "video",
    "video",
    clips.encode(clips.moving_square(right=True, count=6)),
    lambda number: {"label": ("left", "right")[number % 2]},
)
MUSIC = Kind("music", "midi", music.chorale(1, 40))
KINDS = (SPEECH, VIDEO, MUSIC)


Row = tuple[str, str, bytes]  # name, pointer, body


def hostile_archives() -> Iterator[Case]:
    """Archives that must be refused, each for one of the tasks in turn."""
    for number, rows in enumerate(zip(*map(_hostile_rows, KINDS), strict=True)):
        kind, (name, pointer, body) = KINDS[number % len(KINDS)], rows[number % len(KINDS)]
        yield Case(f"{kind.task}: {name}", kind.task, body, pointer)


def _hostile_rows(kind: Kind) -> Iterator[Row]:
    for rows in (_bombs, _bad_names, _bad_members, _bad_zips, _bad_manifests, _bad_lines):
        yield from rows(kind)


@cache
def packed_zeros(mebibytes: int) -> bytes:
    """A deflated stream of so many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)) + packer.flush()


@cache
def many_members() -> bytes:
    """More members than are read, all empty."""
    return many(200_000).close64()


def _bombs(kind: Kind) -> Iterator[Row]:
    zeros = packed_zeros(256)
    yield (
        "a bomb",
        kind.member(),
        kind.zip(content=zeros, method=8, size=256 << 20, packed=len(zeros)).close(),
    )
    lying = {"method": 8, "size": 1_000, "packed": len(zeros), "crc": 1}
    yield "a bomb that lies", kind.row(), kind.zip(content=zeros, **lying).close()
    yield "many members", "/file", many_members()
    small = {f"{number}.x": bytes(1 << 20) for number in range(40)}
    yield "a bomb of small members", "/file", pack(kind.files() | small)
    yield "a zip in the zip", kind.row(), pack(kind.files() | {kind.names()[0]: pack({"a": b"b"})})
    archive, name = kind.zip(), b"again.wav"
    entry: dict[str, Any] = {"flags": 0, "method": 0, "crc": zlib.crc32(kind.content)}
    entry |= {
        "packed": len(kind.content),
        "size": len(kind.content),
        "attributes": 0,
        "offset": 0,
        "extra": b"",
        "name": name,
    }
    yield "an overlap", "/file", archive.entry(entry).close()


def _bad_names(kind: Kind) -> Iterator[Row]:
    for name in (
        "../../etc/x.wav", "/abs.wav", "C:\\x.wav", "a/../../b.wav", "..\\b.wav",
        "line\nbreak.wav", "\x1b[2J.wav", "nul\0.wav", "x" * 4_096,
    ):  # fmt: skip
        step = name[:256].replace("~", "~0").replace("/", "~1")
        body = kind.zip().add(name.encode(), kind.content).close()
        yield f"the name {name[:20]!r}", f"/file/member/{step}", body
    twice = [(info(name), content) for name, content in kind.files().items()]
    yield "the same name twice", kind.member(), pack_infos(*twice, (info(kind.names()[0]), b"other"))


def _bad_members(kind: Kind) -> Iterator[Row]:
    link = [(info(name, 0o120777 if name == kind.names()[0] else 0), content) for name, content in
            (kind.files() | {kind.names()[0]: b"/etc/passwd"}).items()]  # fmt: skip
    yield "a link", kind.member(), pack_infos(*link)
    yield "ZipCrypto", kind.member(), kind.zip(flags=1).close()
    yield "AES", kind.member(), kind.zip(flags=1, method=99).close()
    for method in (12, 14, 93, 98):
        yield f"the method {method}", kind.member(), kind.zip(method=method).close()
    yield "a wrong checksum", kind.row(), kind.zip(crc=1).close()
    yield "a wrong size", kind.row(), kind.zip(size=len(kind.content) + 7).close()
    cut = deflated(kind.content)[:-9]
    yield (
        "cut data",
        kind.row(),
        kind.zip(content=cut, method=8, size=len(kind.content), packed=len(cut)).close(),
    )
    yield "another name inside", kind.row(), kind.zip(local_name=f"9.{kind.column}".encode()).close()


def _bad_zips(kind: Kind) -> Iterator[Row]:
    good, tar = pack(kind.files()), io.BytesIO()
    tarfile.open(fileobj=tar, mode="w:gz").close()
    html = Zip()
    html.body += b"<html>" * 10_000
    for name, body in {
        "cut in the middle": good[: len(good) // 2],
        "without its directory": good[: good.rindex(b"PK\5\6") - 40] + good[good.rindex(b"PK\5\6") :],
        "ZIP64 of many entries": kind.zip().close64(count=1 << 32),
        "another number of entries": kind.zip().close(count=2),
        "garbage": RANDOM.bytes(5_000),
        "PK and garbage": b"PK\3\4" + RANDOM.bytes(5_000),
        "a RAR": b"Rar!\x1a\x07\x01\x00" + bytes(100),
        "empty": b"",
        "no members": Zip().close(),
        "HTML in front": b"<html>" * 1_000 + good,
        "HTML in front, offsets right": html.add(b"0.wav", kind.content).close(),
        "a program in front": b"\x7fELF" + bytes(4_096) + good,
        "two ends": good + Zip().close(),
    }.items():
        yield name, "/file", body
    yield "a tar.gz", "/file", tar.getvalue()


def _bad_manifests(kind: Kind) -> Iterator[Row]:
    manifest, files = f"/file/member/{MANIFEST}", kind.files()
    yield "an empty manifest", manifest, pack(files | {MANIFEST: b""})
    yield "a blank manifest", manifest, pack(files | {MANIFEST: b"\n\r\n"})
    infos = [(info(name), content) for name, content in files.items()]
    yield "two manifests", manifest, pack_infos(*infos, (info(MANIFEST), kind.manifest()))
    large = kind.manifest(*[RANDOM.bytes(500_000).hex().encode()] * 6)
    yield "a large manifest", manifest, pack(files | {MANIFEST: large})
    yield (
        "a line that is too long",
        "/file/row/1",
        pack(files | {MANIFEST: RANDOM.bytes(1 << 20).hex().encode() + kind.manifest()}),
    )
    for name, line in {
        "not UTF-8": b'{"a": "\xff"}',
        "not JSON": b"{audio}",
        "nested": b"[" * 100_000,
        "an array": b"[1]",
        "no number": b'{"%s": NaN}' % kind.column.encode(),
    }.items():
        yield f"a line that is {name}", "/file/row/1", pack(files | {MANIFEST: kind.manifest(line)})


def _bad_lines(kind: Kind) -> Iterator[Row]:
    first = kind.lines()[0]
    for name in ("b.wav", "/etc/passwd", "http://127.0.0.1:6379/", "file:///etc/passwd", "../0.wav"):
        line = first | {kind.column: name}
        yield f"a file {name}", kind.row(), pack(kind.files() | {MANIFEST: kind.manifest(line)})
    for column, value in ((kind.column, 7), (kind.column, None), ("split", "dev"), ("speaker", "x")):
        body = pack(kind.files() | {MANIFEST: kind.manifest(first | {column: value})})
        yield f"{column} {value!r}", f"/file/row/1/column/{column}", body
    again = kind.manifest(first | {"split": "train"}, first | {"split": "test"})
    yield "two splits of a file", "/file/row/2/column/", pack(kind.files() | {MANIFEST: again})


def ordinary_archives() -> Iterator[Case]:
    """Archives that are odd and must be taken, each for one of the tasks in turn."""
    for number, rows in enumerate(zip(*map(_ordinary_rows, KINDS), strict=True)):
        kind, (name, body) = KINDS[number % len(KINDS)], rows[number % len(KINDS)]
        yield Case(f"{kind.task}: {name}", kind.task, body, "", 201)


def _ordinary_rows(kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Archives as Windows, the Finder and pipes write them, and odd manifests."""
    files = kind.files()
    folders = {f"a folder/{name}": content for name, content in files.items() if name != MANIFEST}
    inside = b"\n".join(
        json.dumps(line | {kind.column: f"a folder/{line[kind.column]}"}).encode() for line in kind.lines()
    )
    finder = {"__MACOSX/._0.x": b"\0\5\x16\7", ".DS_Store": b"x", "Thumbs.db": b"x"}
    odd = {"-rf.wav": b"x", "CON.wav": b"x", "%2e%2e/a.wav": b"x", "é.wav": b"x", "e\u0301.wav": b"x"}
    stored = [(info(name), content) for name, content in files.items()]
    for entry, _ in stored[::2]:
        entry.compress_type = zipfile.ZIP_DEFLATED
    windows = [(info(name, system=0), content) for name, content in files.items()]
    cased = files | {kind.names()[0].upper(): b"another file"}
    yield from {
        "stored": pack(files, zipfile.ZIP_STORED),
        "stored and deflated": pack_infos(*stored),
        "in folders": pack({**folders, MANIFEST: inside}),
        "by Windows": pack_infos(*windows),
        "by the Finder": pack(files | finder),
        "odd names": pack(files | odd),
        "names that look alike": pack(cased),
        "a pipe": piped(files),
        "a BOM and CRLF": pack(
            files | {MANIFEST: b"\xef\xbb\xbf" + kind.manifest().replace(b"\n", b"\r\n\r\n")}
        ),
        "a line twice": pack(
            files | {MANIFEST: kind.manifest() + b"\n" + json.dumps(kind.lines()[0]).encode()}
        ),
        "a comment": kind.zip().close(comment=b"made by hand"),
    }.items()
