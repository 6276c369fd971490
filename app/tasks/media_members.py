"""The media files in an uploaded archive, read and decoded; what is wrong with one becomes a fault."""

from collections.abc import Iterable, Sequence
from typing import Any

from app.errors import DatasetInvalid
from app.media.decoder import Decoder, process_decoder
from app.media.errors import MediaError
from app.tasks.contract import bytes_to_json
from app.tasks.shared.table_cells import shorten
from app.tasks.source import Faults, Source
from app.typedefs import Json

MEMBER_NAMES = "members"  # stored arrays: the name of each example's member
UNLISTED = "in no line of the manifest"  # why a member is left out


def left_out_warnings(names: Sequence[str], reason: str) -> list[str]:
    """A warning that counts the members of an archive that are not read; none without such members."""
    if not names:
        return []
    shown = ", ".join(map(shorten, names[:3])) + (", …" if len(names) > 3 else "")
    return [f"Left out: {len(names):,} of the archive's members, {reason} ({shown})."]


def too_few(count: int, noun: str, needed: int) -> str | None:
    """Why there are too few members to train on, if so; `noun` is what one is called."""
    if count >= needed:
        return None
    return f"There {f'is 1 {noun}' if count == 1 else f'are {count} {noun}s'}; {needed} are needed."


class MediaMembers:
    """Members of an archive that are files of one kind: audio, video or midi.

    The kind is also the field of the manifest that names them. A fault is at that field of the line; where no
    line names a member it is at the member. Without a decoder of its own it has that of the process.
    """

    def __init__(self, source: Source, faults: Faults, kind: str, decoder: Decoder | None = None) -> None:
        self._source, self._faults, self._kind = source, faults, kind
        self._decoder = decoder or process_decoder()

    def named(self) -> list[tuple[str, int | None]]:
        """What each line of the manifest names, and the line."""
        return [(str(record.get(self._kind)), line) for line, record in self._source.manifest()]

    def instances(self, named: Iterable[tuple[str, int | None]]) -> list[Json]:
        """An instance for each of these members that can be read, in their order."""
        contents = [self.read(name, line) for name, line in named]
        field = f"{self._kind}_base64"
        return [{field: bytes_to_json(content)} for content in contents if content is not None]

    def read(self, name: str, line: int | None) -> bytes | None:
        """The content of a member; None after a fault."""
        max_bytes = self._decoder.limits.file_bytes
        try:
            with self._source.open_member(name) as file:
                content = file.read(max_bytes + 1)
        except KeyError:
            self._add_fault(f"The archive has no member {shorten(name)}.", name, line)
        except DatasetInvalid as error:  # the archive is damaged here
            for problem in error.problems:
                self._add_fault(problem.detail, name, line)
        else:
            if len(content) <= max_bytes:
                return content
            self.refuse(name, line, f"has more than {max_bytes:,} bytes")
        return None

    def decode(self, name: str, line: int | None, options: Json) -> tuple[bytes, dict[str, Any]] | None:
        """The content of a member and what the decoder makes of it; None after a fault."""
        content = self.read(name, line)
        if content is None:
            return None
        try:
            return content, self._decoder.decode(self._kind, content, options)
        except MediaError as error:
            self.refuse(name, line, str(error))
            return None

    def refuse(self, name: str, line: int | None, predicate: str) -> None:
        """Add a fault whose sentence is about the member."""
        self._add_fault(f"The member {shorten(name)} {predicate}.", name, line)

    def _add_fault(self, detail: str, name: str, line: int | None) -> None:
        if line is None:
            self._faults.add(detail, member=name)
        else:
            self._faults.add(detail, row=line, column=self._kind)
