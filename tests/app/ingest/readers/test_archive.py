"""Zip archives as the reader gives them, and the hostile ones that it refuses."""

import io
import json
import os
import resource
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import DatasetInvalid, Problem
from app.ingest.limits import ArchiveLimits
from app.ingest.readers import Mapping, open_source
from app.ingest.readers.archive import Archive
from app.tasks.source import MANIFEST, Faults, Member
from app.validation.file_kinds import detect_format
from tests.support.factories.zips import Files, Zip, deflated, info, many, pack, pack_infos, piped

SOUND = b"RIFF....WAVE" * 10
LINES = b'{"audio": "a.wav", "text": "one"}\n{"audio": "b.wav", "text": "two"}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "content"


Opener = Callable[..., Archive]


@pytest.fixture
def opened(path: Path) -> Opener:
    def make(body: bytes, limits: ArchiveLimits | None = None, faults: Faults | None = None) -> Archive:
        path.write_bytes(body)
        return Archive(path, "zip", Mapping({}), faults or Faults(), limits or ArchiveLimits())

    return make


def refused(opened: Opener, body: bytes, limits: ArchiveLimits | None = None) -> list[Problem]:
    with pytest.raises(DatasetInvalid) as caught:
        opened(body, limits)
    assert "pytest" not in caught.value.message  # which our paths have
    return caught.value.problems


def refused_when_read(opened: Opener, body: bytes, name: str = "a.wav") -> Problem:
    archive = opened(body)
    with pytest.raises(DatasetInvalid) as caught, archive.open_member(name) as file:
        list(iter(lambda: file.read(1 << 16), b""))
    [problem] = caught.value.problems
    assert repr(name) in problem.detail
    assert problem.pointer == f"/file/member/{name}"
    return problem


# What is accepted


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_and_the_manifest_are_read(opened: Opener, method: int) -> None:
    archive = opened(pack({"a.wav": SOUND, "clips/b.wav": b"", MANIFEST: LINES}, method))
    assert list(archive.members()) == [Member("a.wav", len(SOUND)), Member("clips/b.wav", 0)]
    assert archive.has_manifest
    assert list(archive.manifest()) == [
        (1, {"audio": "a.wav", "text": "one"}),
        (2, {"audio": "b.wav", "text": "two"}),
    ]
    assert list(archive.records()) == list(archive.manifest())
    [chunk] = archive.chunks()
    assert chunk.columns["text"].tolist() == ["one", "two"]
    for name, content in (("a.wav", SOUND), ("clips/b.wav", b"")):
        with archive.open_member(name) as file:
            assert file.read() == content
            assert file.read() == b""


def test_the_format_gives_the_reader(path: Path) -> None:
    body = pack({"a.wav": SOUND, MANIFEST: b'{"file": "a.wav"}'})
    path.write_bytes(body)
    assert detect_format(("zip",), "clips.bin", body[:100]) == "zip"
    source = open_source(path, "zip", Mapping({"audio": "file"}), Faults())
    assert (source.format, list(source.manifest())) == ("zip", [(1, {"audio": "a.wav"})])


def test_another_file_has_no_members(path: Path) -> None:
    path.write_bytes(b'{"a": 1}\n')
    source = open_source(path, "jsonl", Mapping({}), Faults())
    assert not source.has_manifest
    assert (list(source.members()), list(source.manifest()), source.unlisted(["a"])) == ([], [], [])
    with pytest.raises(KeyError):
        source.open_member("a")


def test_an_archive_may_have_no_manifest(opened: Opener) -> None:
    archive = opened(pack({"a.mid": b"MThd"}))
    assert not archive.has_manifest
    assert list(archive.manifest()) == []


def test_members_that_nobody_names_are_listed(opened: Opener) -> None:
    files = {"a.wav": SOUND, ".DS_Store": b"x", "__MACOSX/._a.wav": b"x", MANIFEST: LINES}
    archive = opened(pack(files))
    assert archive.unlisted({"a.wav", "b.wav"}) == [".DS_Store", "__MACOSX/._a.wav"]


def test_an_unknown_name_is_no_member(opened: Opener) -> None:
    archive = opened(pack({"a.wav": SOUND}))
    for name in ("b.wav", "/etc/passwd", "http://127.0.0.1:6379/", "../a.wav"):
        with pytest.raises(KeyError):
            archive.open_member(name)


def test_folders_are_left_out(opened: Opener) -> None:
    body = pack_infos((info("clips/", stat.S_IFDIR | 0o755), b""), (info("clips/a.wav"), SOUND))
    assert [member.name for member in opened(body).members()] == ["clips/a.wav"]


def test_a_manifest_may_have_a_bom_crlf_and_blank_lines(opened: Opener) -> None:
    manifest = b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n")
    assert [line for line, _ in opened(pack({"a.wav": b"", MANIFEST: manifest})).manifest()] == [1, 3]


@pytest.mark.parametrize(
    ("raw", "flags", "name"),
    [
        ("é.wav".encode(), 0x800, "é.wav"),
        ("é.wav".encode(), 0, "é.wav"),  # as the Finder writes it
        (b"\x82.wav", 0, "é.wav"),  # code page 437
        (b"-rf.wav", 0, "-rf.wav"),
        (b"CON.wav", 0, "CON.wav"),
        (b"%2e%2e/a.wav", 0, "%2e%2e/a.wav"),
        (b"..a..wav", 0, "..a..wav"),
        (b"x" * 256, 0, "x" * 256),
    ],
)
def test_unusual_names_are_only_names(opened: Opener, raw: bytes, flags: int, name: str) -> None:
    archive = opened(Zip().add(raw, SOUND, flags=flags).close())
    assert [member.name for member in archive.members()] == [name]
    with archive.open_member(name) as file:
        assert file.read() == SOUND


def test_names_that_only_look_alike_are_two_files(opened: Opener) -> None:
    names = ["a.wav", "A.wav", "\u00e9.wav", "e\u0301.wav"]
    assert [member.name for member in opened(pack(dict.fromkeys(names, SOUND))).members()] == names


def test_a_streamed_archive_has_its_sizes_behind_its_members(opened: Opener) -> None:
    source = opened(piped({"a.wav": SOUND, "b.wav": SOUND * 2}))
    with source.open_member("b.wav") as file:
        assert file.read() == SOUND * 2


def test_zip64_is_read(opened: Opener) -> None:
    extra = struct.pack("<2H2Q", 1, 16, len(SOUND), len(SOUND))
    archive = Zip().add(b"a.wav", SOUND, size=0xFFFFFFFF, packed=0xFFFFFFFF, extra=extra, local_extra=b"")
    for body in (archive.close(), archive.close64()):
        source = opened(body)
        assert list(source.members()) == [Member("a.wav", len(SOUND))]
        with source.open_member("a.wav") as file:
            assert file.read() == SOUND


def test_an_archive_may_have_a_comment(opened: Opener) -> None:
    assert list(opened(Zip().add(b"a", b"x").close(comment=b"made by PK\5\6 hand")).members())


@given(
    files=st.dictionaries(
        st.text("abcdé/ .-", min_size=1, max_size=12).filter(
            lambda name: not name.startswith("/") and not name.endswith("/") and ".." not in name
        ),
        st.binary(max_size=300),
        min_size=1,
        max_size=5,
    ),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    step=st.integers(1, 400),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_packed_comes_out(opened: Opener, files: Files, method: int, step: int) -> None:
    archive = opened(pack(files, method))
    assert [member.name for member in archive.members()] == list(files)
    for name, content in files.items():
        with archive.open_member(name) as file:
            assert b"".join(iter(lambda: file.read(step), b"")) == content


# What is refused before a member is opened


def test_a_bomb_of_one_member(opened: Opener) -> None:
    [problem] = refused(opened, pack({"a.wav": bytes(3 << 20)}))
    assert problem.pointer == "/file/member/a.wav"
    assert "'a.wav' unpacks to more than 200 times its size" in problem.detail


def test_a_bomb_of_many_small_members(opened: Opener) -> None:
    [problem] = refused(opened, pack({f"{n}.wav": bytes(1 << 20) for n in range(3)}))
    assert (problem.pointer, problem.detail) == (
        "/file",
        "The archive unpacks to more than 200 times its size.",
    )


def test_a_small_member_may_be_packed_well(opened: Opener) -> None:
    with opened(pack({"a.wav": bytes(1 << 20)})).open_member("a.wav") as file:
        assert len(file.read()) == 1 << 20


@pytest.mark.parametrize(
    ("limits", "pointer", "word"),
    [
        (ArchiveLimits(members=2), "/file", "3 members; at most 2"),
        (ArchiveLimits(member_bytes=100), "/file/member/a.wav", "'a.wav' unpacks to 120 bytes; at most 100"),
        (ArchiveLimits(total_bytes=200), "/file", "unpacks to 240 bytes; at most 200"),
        (ArchiveLimits(name_bytes=4), "/file/member/a.wa", "a name of more than 4 bytes"),
    ],
)
def test_limits_are_named(opened: Opener, limits: ArchiveLimits, pointer: str, word: str) -> None:
    problems = refused(opened, pack({"a.wav": SOUND, "b.wav": SOUND, "c.wav": b""}), limits)
    assert problems[0].pointer == pointer
    assert word in problems[0].detail


@pytest.mark.server
def test_many_members_are_refused_by_their_number(opened: Opener) -> None:
    body = many(70_000).close64()  # more than 16 bits count
    assert "70,000 members; at most 50,000" in refused(opened, body, ArchiveLimits(members=50_000))[0].detail
    assert sum(1 for _ in opened(body).members()) == 70_000


def test_a_number_of_members_that_lies_is_no_way_around(opened: Opener) -> None:
    archive = many(70_000)
    [problem] = refused(opened, archive.close(), ArchiveLimits(members=50_000))  # it says 70,000 - 65,536
    assert "another number of members" in problem.detail
    assert "4,294,967,296 members" in refused(opened, archive.close64(count=1 << 32))[0].detail


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("../../etc/x.wav", "leads out of the archive"),
        ("a/../../b.wav", "leads out of the archive"),
        ("/abs.wav", "an absolute path"),
        ("C:x.wav", "an absolute path"),
        ("C:\\x.wav", "a backslash"),
        ("..\\b.wav", "a backslash"),
        ("a\nb.wav", "control characters"),
        ("\x1b[2Ja.wav", "control characters"),
        ("a\0b.wav", "control characters"),
        ("", "no name"),
        ("x" * 257, "a name of more than 256 bytes"),
    ],
)
def test_names_that_could_be_paths_are_refused(opened: Opener, name: str, word: str) -> None:
    [problem] = refused(opened, Zip().add(name.encode(), SOUND).close())
    steps = name[:256].replace("~", "~0").replace("/", "~1")
    assert problem.pointer == f"/file/member/{steps}"
    assert repr(name[:80]) in problem.detail
    assert word in problem.detail
    assert "\n" not in problem.detail
    assert "\x1b" not in problem.detail


def test_a_name_that_lies_about_its_encoding(opened: Opener) -> None:
    [problem] = refused(opened, Zip().add(b"\xff.wav", flags=0x800).close())
    assert "not UTF-8" in problem.detail


@pytest.mark.parametrize(
    ("mode", "word"),
    [(0o120777, "is a link"), (0o010644, "is neither a file nor"), (0o060644, "is neither a file nor")],
)
def test_links_and_devices_are_refused(opened: Opener, mode: int, word: str) -> None:
    for system in (0, 3, 19):
        [problem] = refused(opened, pack_infos((info("a.wav", mode, system), b"/etc/passwd")))
        assert problem.pointer == "/file/member/a.wav"
        assert f"'a.wav' {word}" in problem.detail


def test_a_name_that_is_there_twice(opened: Opener) -> None:
    body = pack_infos((info("a.wav"), SOUND), (info("b.wav"), SOUND), (info("a.wav"), b"other"))
    [problem] = refused(opened, body)
    assert (problem.pointer, problem.detail) == (
        "/file/member/a.wav",
        "The member 'a.wav' is in the archive twice.",
    )


@pytest.mark.parametrize(
    "fields", [{"flags": 1}, {"flags": 0x41}, {"flags": 0x2000}, {"method": 99}, {"method": 99, "flags": 1}]
)
def test_encrypted_members_are_refused(opened: Opener, fields: dict[str, int]) -> None:
    [problem] = refused(opened, Zip().add(b"a.wav", SOUND, **fields).close())
    assert (problem.pointer, problem.detail) == ("/file/member/a.wav", "The member 'a.wav' is encrypted.")


@pytest.mark.parametrize(
    ("method", "word"), [(12, "bzip2"), (14, "LZMA"), (93, "Zstandard"), (98, "PPMd"), (1, "method 1")]
)
def test_other_compressions_are_refused(opened: Opener, method: int, word: str) -> None:
    [problem] = refused(opened, Zip().add(b"a.wav", SOUND, method=method).close())
    assert f"'a.wav' is compressed by {word}" in problem.detail


def test_a_folder_with_content_is_refused(opened: Opener) -> None:
    assert "folder with content" in refused(opened, Zip().add(b"a/", b"x").close())[0].detail


def test_all_bad_members_are_named_up_to_twenty(opened: Opener) -> None:
    body = pack({f"../{n}.wav": b"" for n in range(30)} | {"a.wav": SOUND})
    assert [problem.pointer for problem in refused(opened, body)] == [
        f"/file/member/..~1{n}.wav" for n in range(20)
    ]


def full_overlap() -> bytes:
    """The directory names one member's content many times (Fifield 2019)."""
    archive = Zip().add(b"a.wav", SOUND)
    for number in range(10):
        entry = {"flags": 0, "method": 0, "crc": zlib.crc32(SOUND), "packed": len(SOUND), "size": len(SOUND)}
        archive.entry(entry | {"attributes": 0, "offset": 0, "extra": b"", "name": b"%d.wav" % number})
    return archive.close()


def quoted_overlap() -> bytes:
    """A member's content is the header and the content of the next one."""
    inner = Zip().add(b"b.wav", SOUND)
    outer = Zip().add(b"a.wav", bytes(inner.body))
    entry = {"flags": 0, "method": 0, "crc": zlib.crc32(SOUND), "packed": len(SOUND), "size": len(SOUND)}
    start = len(outer.body) - len(inner.body)
    return outer.entry(entry | {"attributes": 0, "offset": start, "extra": b"", "name": b"b.wav"}).close()


@pytest.mark.parametrize("body", [full_overlap(), quoted_overlap()], ids=["full", "quoted"])
def test_members_that_overlap_are_refused(opened: Opener, body: bytes) -> None:
    [problem] = refused(opened, body)
    assert problem.pointer == "/file"
    assert "overlaps" in problem.detail


GOOD = Zip().add(b"a.wav", SOUND)
TAR = io.BytesIO()
tarfile.open(fileobj=TAR, mode="w:gz").close()


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "not a zip archive: it is empty"),
        (b"plain garbage" * 100, "not a zip archive: it is text"),
        (TAR.getvalue(), "not a zip archive: it is a file compressed by gzip"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(100), "not a zip archive: it is of an unknown kind"),
        (b"RIFF\0\0\0\0WAVE", "it is a file in WAV format. Files come in an archive, with a manifest.jsonl"),
        (b"MThd", "it is a MIDI file"),
        (pack({"a.wav": os.urandom(1000)})[:500], "not a complete zip archive"),
        (GOOD.close()[:-1], "not a complete zip archive"),
        (GOOD.close() + b"\0", "not a complete zip archive"),
        (b"PK\5\6", "not a complete zip archive"),
        (Zip().close(), "has no members"),
        (pack({MANIFEST: LINES}), "no members beside its manifest"),
        (b"<html>" * 1000 + GOOD.close(), "is damaged"),
        (GOOD.close(offset=10), "is damaged"),
        (GOOD.close(size=3), "is damaged"),
        (GOOD.close(size=1 << 31), "larger than 64 MiB"),
        (GOOD.close(count=2), "another number of members"),
        (GOOD.close(count=0), "has no members"),
        (GOOD.close(disk=1), "one part of several"),
        (GOOD.close64(record=7), "ZIP64 record is missing"),
        (GOOD.close64(record=1 << 60), "ZIP64 record is missing"),
        (GOOD.close64(offset=1 << 40), "is damaged"),
        (Zip().add(b"a.wav", SOUND, size=0xFFFFFFFF).close(), "sizes of the member 'a.wav' are missing"),
        (Zip().add(b"a.wav", SOUND, packed=1 << 20).close(), "'a.wav' overlaps"),
        (Zip().add(b"a.wav", SOUND, offset=1).close(), "other data in front"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_broken_archives_are_refused(opened: Opener, body: bytes, word: str) -> None:
    [problem] = refused(opened, body)
    assert problem.pointer == "/file"
    assert word in problem.detail


def test_a_polyglot_with_corrected_offsets_is_refused(opened: Opener) -> None:
    html = Zip()
    html.body += b"<html>" * 100
    assert "other data in front" in refused(opened, html.add(b"a.wav", SOUND).close())[0].detail


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_refused_and_never_an_error_of_ours(opened: Opener, data: st.DataObject) -> None:
    body = bytearray(pack({"a.wav": SOUND * 5, "b/c.wav": b"x", MANIFEST: LINES}))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.one_of(st.just(len(body)), st.integers(0, len(body))))
    faults = Faults()
    try:
        archive = opened(bytes(body[:keep]), faults=faults)
        list(archive.manifest())
        for member in archive.members():
            with archive.open_member(member.name) as file:
                assert len(file.read()) == member.size
    except DatasetInvalid as error:
        problems = error.problems
    else:
        problems = faults.problems or [Problem("/file", "")]
    assert problems
    assert all(problem.pointer.startswith("/file") for problem in problems)


# What is refused while a member is read


def test_a_bomb_with_a_lying_header(opened: Opener) -> None:
    content = bytes(1 << 24)
    packed = deflated(content)
    for crc in (zlib.crc32(content), zlib.crc32(content[:1000])):
        fields = {"method": 8, "size": 1000, "crc": crc, "packed": len(packed)}
        problem = refused_when_read(opened, Zip().add(b"a.wav", packed, **fields).close())
        assert "unpacks to more than the 1,000 bytes that the archive claims" in problem.detail


@pytest.mark.parametrize(
    ("content", "fields", "word"),
    [
        (SOUND, {"crc": 1}, "checksum is wrong"),
        (SOUND, {"size": len(SOUND) + 1}, "does not end where"),
        (SOUND, {"size": 5, "crc": zlib.crc32(SOUND[:5])}, "unpacks to more than the 5 bytes"),
        (b"", {"crc": 1}, "checksum is wrong"),
        (deflated(SOUND), {"method": 8, "size": 121, "crc": zlib.crc32(SOUND)}, "does not end where"),
        (deflated(SOUND), {"method": 8, "size": 120, "crc": 1}, "checksum is wrong"),
        (deflated(SOUND)[:-3], {"method": 8, "size": 120, "crc": zlib.crc32(SOUND)}, "does not end where"),
        (deflated(SOUND) + b"x", {"method": 8, "size": 120, "crc": zlib.crc32(SOUND)}, "does not end where"),
        (b"\xff" * 50, {"method": 8, "size": 120}, "compressed data cannot be read"),
        (SOUND, {"local_name": b"b.wav"}, "described differently"),
        (SOUND, {"local_method": 8}, "described differently"),
        (
            SOUND[:8],
            {"local_extra": b"x" * 100, "extra": b"", "packed": 8 + 100},
            "overlaps with what follows",
        ),
    ],
)
def test_a_damaged_member_is_named(opened: Opener, content: bytes, fields: dict[str, Any], word: str) -> None:
    assert word in refused_when_read(opened, Zip().add(b"a.wav", content, **fields).close()).detail


def test_a_member_without_a_header(opened: Opener) -> None:
    body = bytearray(GOOD.close())
    body[2] = 7
    assert "has no header" in refused_when_read(opened, bytes(body)).detail


def test_one_damaged_member_does_not_hide_the_others(opened: Opener) -> None:
    archive = opened(Zip().add(b"a.wav", SOUND, crc=1).add(b"b.wav", SOUND).close())
    with pytest.raises(DatasetInvalid), archive.open_member("a.wav") as file:
        file.read()
    with archive.open_member("b.wav") as file:
        assert file.read() == SOUND


# Manifests


@pytest.mark.parametrize(
    ("manifest", "pointer", "word"),
    [
        (b"", "/file/member/manifest.jsonl", "names no members"),
        (b"\n\r\n", "/file/member/manifest.jsonl", "names no members"),
        (b'{"a": 1}\n{"a": \xff}\n', "/file/row/2", "not UTF-8"),
        (b'{"a": 1}\n\n{"a"}\n', "/file/row/3", "Not valid JSON"),
        (b"[" * 100_000, "/file/row/1", "nested too deeply"),
        (b"[1]\n", "/file/row/1", "got an array"),
        (b'{"a": Infinity}', "/file/row/1", "is not a JSON number"),
        (b"\xff\xfe{\0", "/file/row/1", "UTF-16"),
    ],
)
def test_faults_of_a_manifest_have_their_line(
    opened: Opener, manifest: bytes, pointer: str, word: str
) -> None:
    faults = Faults()
    with pytest.raises(DatasetInvalid) as caught:  # noqa: PT012
        list(opened(pack({"a.wav": SOUND, MANIFEST: manifest}), faults=faults).manifest())
        faults.check()
    assert caught.value.problems[0].pointer == pointer
    assert word in caught.value.problems[0].detail


def test_a_manifest_and_its_lines_are_bounded(opened: Opener) -> None:
    files = {"a.wav": SOUND, MANIFEST: b'{"text": "%s"}' % bytes(json.dumps("x" * 3000)[1:-1], "ascii")}
    [problem] = refused(opened, pack(files), ArchiveLimits(manifest_bytes=1000))
    assert (problem.pointer, problem.detail) == (
        "/file/member/manifest.jsonl",
        "The manifest is larger than 1,000 bytes.",
    )
    long = {**files, MANIFEST: os.urandom(3 << 20).hex().encode()}
    with pytest.raises(DatasetInvalid, match="longer than 1 MiB"):
        list(opened(pack(long)).manifest())


def test_two_manifests_are_refused(opened: Opener) -> None:
    [problem] = refused(opened, pack_infos((info(MANIFEST), LINES), (info(MANIFEST), b""), (info("a"), b"")))
    assert problem.pointer == "/file/member/manifest.jsonl"


# Memory

READ = """
import resource, sys
from pathlib import Path
from app.errors import DatasetInvalid
from app.ingest.readers import Mapping
from app.ingest.readers import open_source
from app.tasks.contract import Faults
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    source = open_source(Path(sys.argv[1]), "zip", Mapping({}), Faults())
    for member in source.members():
        with source.open_member(member.name) as file:
            while file.read(1 << 16):
                pass
except DatasetInvalid as error:
    print(error.message)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.server
@pytest.mark.parametrize("kind", ["true sizes", "lying sizes", "many members"])
def test_no_archive_takes_much_memory(path: Path, kind: str) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    sizes = {"true sizes": 256 << 20, "lying sizes": 1000}
    if kind in sizes:
        body = Zip().add(b"a.wav", packed, method=8, size=sizes[kind], packed=len(packed)).close()
    else:
        body = many(200_000).close64()
    path.write_bytes(body)
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    message, grown = done.stdout.splitlines()
    assert message.startswith("The file cannot be used")
    assert int(grown) < (100 << 10) * (1024 if sys.platform == "darwin" else 1)  # KiB on Linux


def test_reading_opens_no_more_files_than_it_closes(opened: Opener) -> None:
    archive = opened(pack({f"{n}.wav": SOUND for n in range(50)}))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(one.name) for one in Path("/dev/fd").iterdir())  # numbers below it may be taken or free
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 16, limit[1]))
        for _ in range(10):
            for member in archive.members():
                with archive.open_member(member.name) as file:
                    assert file.read(4) == SOUND[:4]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
