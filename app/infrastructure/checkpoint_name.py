"""A checkpoint file's name: it tells the step and proves the content, to those without torch too."""

import hashlib
import re
from pathlib import Path

NAME = re.compile(r"(?P<step>\d{12})-(?P<sha256>[0-9a-f]{64})\.safetensors")


class Damaged(Exception):
    """The file is not what was written."""


def name(step: int, sha256: str) -> str:
    """Of a checkpoint taken after so many steps."""
    return f"{step:012d}-{sha256}.safetensors"


def step_of(told: str) -> int | None:
    """The step after which a checkpoint of this name was taken; None when it is no checkpoint's name."""
    found = NAME.fullmatch(told)
    return None if found is None else int(found["step"])


def sha256_of(told: str) -> str | None:
    """What a file of this name must hash to; None when it is no checkpoint's name."""
    found = NAME.fullmatch(told)
    return None if found is None else found["sha256"]


def check(path: Path) -> None:
    """Raise `Damaged` unless the file is the one that got this name."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read: {error}") from error
    if sha256_of(path.name) != digest:
        raise Damaged(f"{path.name} does not match its sha256")
