"""What the readers of files that are not archives have in common: such a file has no members."""

from collections.abc import Collection, Iterator
from typing import BinaryIO

from app.tasks.source import Member
from app.typedefs import Json


class SingleFile:
    """The members of a source that is not an archive: none."""

    has_manifest = False
    separator: str | None = None

    def members(self) -> Iterator[Member]:
        """Yield nothing."""
        return iter(())

    def open_member(self, name: str) -> BinaryIO:
        """Raise `KeyError`: no name is a member's."""
        raise KeyError(name)

    def manifest(self) -> Iterator[tuple[int, Json]]:
        """Yield nothing."""
        return iter(())

    def unlisted(self, names: Collection[str]) -> list[str]:
        """Return no names."""
        del names
        return []
