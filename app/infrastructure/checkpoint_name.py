"""File names of checkpoints: step and SHA-256 in the name, readable without torch."""

import hashlib
import re
from pathlib import Path

PATTERN = re.compile(r"(?P<step>\d{12})-(?P<sha256>[0-9a-f]{64})\.safetensors")


class CheckpointDamaged(Exception):
    """The file's content is not the one that was written."""


def checkpoint_name(step: int, sha256: str) -> str:
    """Return the file name of a checkpoint taken after `step` steps, with its content's hash in hex."""
    return f"{step:012d}-{sha256}.safetensors"


def step_of(name: str) -> int | None:
    """Return the step in a checkpoint's file name; None for any other name."""
    match = PATTERN.fullmatch(name)
    return None if match is None else int(match["step"])


def sha256_of(name: str) -> str | None:
    """Return the SHA-256 in a checkpoint's file name; None for any other name."""
    match = PATTERN.fullmatch(name)
    return None if match is None else match["sha256"]


def verify_checkpoint(path: Path) -> None:
    """Raise `CheckpointDamaged` unless the file has the hash in its name."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointDamaged(f"{path.name} cannot be read: {error}") from error
    if sha256_of(path.name) != digest:
        raise CheckpointDamaged(f"{path.name} does not match its sha256")
