"""Zip archives: as a library writes them, and field by field, so that each field can be wrong."""

import io
import struct
import warnings
import zipfile
import zlib
from typing import Any

Files = dict[str, bytes]


def pack(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return body.getvalue()


def pack_infos(*members: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for info, content in members:
            archive.writestr(info, content)
    return body.getvalue()


def info(name: str, mode: int = 0, system: int = 3) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = system, mode << 16
    return entry


class Zip:
    """Writes an archive field by field, so that each can be wrong."""

    def __init__(self) -> None:
        self.body, self.directory, self.count = bytearray(), bytearray(), 0

    def add(self, name: bytes, content: bytes = b"", **fields: Any) -> "Zip":
        """Append a member; `fields` replace what its directory entry says, `local_…` what its header says."""
        real: dict[str, Any] = {
            "flags": 0, "method": 0, "crc": zlib.crc32(content), "packed": len(content), "size": len(content),
            "attributes": 0, "offset": len(self.body), "extra": b"", "name": name,
        }  # fmt: skip
        entry = real | {key: value for key, value in fields.items() if not key.startswith("local_")}
        local = entry | {key[6:]: value for key, value in fields.items() if key.startswith("local_")}
        numbers = (
            [local[key] for key in ("flags", "method")],
            [local[key] for key in ("crc", "packed", "size")],
        )
        lengths = len(local["name"]), len(local["extra"])
        self.body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, *numbers[0], 0, 33, *numbers[1], *lengths)
        self.body += local["name"] + local["extra"] + content
        return self.entry(entry)

    def entry(self, entry: dict[str, Any]) -> "Zip":
        """Append an entry to the directory alone."""
        self.directory += struct.pack(
            "<4s6H3I5H2I",
            b"PK\1\2", 0x0314, 20, entry["flags"], entry["method"], 0, 33,
            entry["crc"], entry["packed"], entry["size"],
            len(entry["name"]), len(entry["extra"]), 0, 0, 0, entry["attributes"], entry["offset"],
        )  # fmt: skip
        self.directory += entry["name"] + entry["extra"]
        self.count += 1
        return self

    def close(self, comment: bytes = b"", **fields: int) -> bytes:
        """The archive; `fields` replace what its last record says."""
        end = {"disk": 0, "count": self.count, "size": len(self.directory), "offset": len(self.body)} | fields
        record = struct.pack(
            "<4s4H2IH", b"PK\5\6", end["disk"], end["disk"], end["count"] & 0xFFFF, end["count"] & 0xFFFF,
            end["size"], end["offset"], len(comment),
        )  # fmt: skip
        return bytes(self.body + self.directory + record + comment)

    def close64(self, **fields: int) -> bytes:
        """The archive with a ZIP64 record."""
        end = {"count": self.count, "size": len(self.directory), "offset": len(self.body)} | fields
        at = len(self.body) + len(self.directory)
        record = struct.pack("<4sQ2H2I", b"PK\6\6", 44, 45, 45, 0, 0)
        record += struct.pack("<4Q", end["count"], end["count"], end["size"], end["offset"])
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, fields.get("record", at), 1)
        last = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        return bytes(self.body + self.directory + record + locator + last)


def many(count: int) -> Zip:
    archive = Zip()
    for number in range(count):
        archive.add(b"%d" % number)
    return archive


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def piped(files: dict[str, bytes]) -> bytes:
    """What `zip -r -` writes: sizes stand behind the members."""

    class Pipe(io.RawIOBase):
        """Cannot seek."""

        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.parts.append(bytes(data))
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return b"".join(pipe.parts)
