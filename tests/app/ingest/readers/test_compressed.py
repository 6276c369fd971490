"""Compressed files: read whole, refused where they are damaged or unpack to too much."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from app.errors import DatasetInvalid
from app.ingest.limits import ArchiveLimits
from app.ingest.readers import Mapping, open_content, open_source
from app.tasks.source import Faults


def arrow(method: str) -> Callable[[bytes], bytes]:
    def compress(data: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, method) as stream:
            stream.write(data)
        packed: bytes = sink.getvalue().to_pybytes()
        return packed

    return compress


METHODS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": arrow("zstd"),
    "lz4": arrow("lz4"),
}
TABLE = b"text,label\n" + b"".join(b"row %d,%d\n" % (row * 7919 % 1000, row % 2) for row in range(20_000))


@pytest.fixture(params=METHODS)
def compress(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return METHODS[request.param]


def written(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


def test_every_method_is_unpacked(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = written(tmp_path / "content", compress(TABLE))
    with open_content(path) as file:
        assert file.read() == TABLE
    rows = list(open_source(path, "csv", Mapping({}), Faults()).records())
    assert (len(rows), rows[-1][0], rows[-1][1]["label"]) == (20_000, 20_001, "1")


def test_a_file_in_several_parts_is_one(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with open_content(written(tmp_path / "content", compress(b"a,b\n") + compress(b"1,2\n"))) as file:
        assert file.read() == b"a,b\n1,2\n"


def test_a_file_that_is_not_compressed_is_read_as_it_is(tmp_path: Path) -> None:
    with open_content(written(tmp_path / "content", b"BZh is no compression")) as file:
        assert file.read() == b"BZh is no compression"


@pytest.mark.parametrize("format_", ["csv", "jsonl", "conll", "txt"])
def test_a_file_cut_off_is_refused_in_every_format(
    compress: Callable[[bytes], bytes], format_: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "content", compress(TABLE)[:-40])
    with pytest.raises(DatasetInvalid, match="damaged or cut off"):
        list(open_source(path, format_, Mapping({}), Faults()).chunks())


def test_what_unpacks_to_too_much_is_refused(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = written(tmp_path / "content", compress(bytes(1 << 20)))
    for limits, reason in (
        (ArchiveLimits(total_bytes=1 << 19), "524,288 bytes"),
        (ArchiveLimits(ratio=100, ratio_free_bytes=1 << 18), "100 times"),
    ):
        with pytest.raises(DatasetInvalid, match=reason), open_content(path, limits) as file:  # noqa: PT012
            while file.read(1 << 16):
                pass
    with open_content(path, ArchiveLimits(ratio=1, ratio_free_bytes=1 << 20)) as file:
        assert len(file.read()) == 1 << 20
