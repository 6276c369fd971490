"""Bounds on an uploaded file beyond its size: on an archive, the media files in it, and the memory for it."""

from dataclasses import dataclass, field

from app.ingest.memory_budget import MemoryBudget
from app.media.limits import MediaLimits


@dataclass(frozen=True)
class ArchiveLimits:
    """Bounds on an archive; a ratio is of unpacked to packed bytes."""

    members: int = 100_000
    name_bytes: int = 256
    member_bytes: int = 1 << 30  # unpacked
    total_bytes: int = 8 << 30  # unpacked, of all members
    ratio: int = 200
    ratio_free_bytes: int = 1 << 20  # what is not larger may have any ratio
    manifest_bytes: int = 64 << 20
    manifest_line_bytes: int = 1 << 20


@dataclass(frozen=True)
class FileLimits:
    """All bounds that the child process which reads an uploaded file keeps to."""

    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    media: MediaLimits = field(default_factory=MediaLimits)
    memory: MemoryBudget = field(default_factory=MemoryBudget)  # of all children together
