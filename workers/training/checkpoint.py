"""Checkpoints: a training's snapshot in one file that proves itself, written whole or not at all."""

import hashlib
import json
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from app.infrastructure.checkpoint_name import Damaged, check, name
from app.infrastructure.disk import sync
from workers.training.snapshot import Snapshot

FACTS = "recurra"  # key of the JSON in the file's own metadata


def write(directory: Path, step: int, snapshot: Snapshot) -> Path:
    """Write, flush to the disk, and only then give the file its name, which tells its content's sha256.

    Raises `OSError`; then nothing is left.
    """
    part = directory / f"{step:012d}.part"
    try:
        save_file(snapshot.tensors, part, metadata={FACTS: json.dumps(snapshot.facts)})
        sync(part)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = directory / name(step, digest)
        part.replace(path)
        sync(directory)
    except SafetensorError as error:  # it tells an `OSError` in words only
        raise OSError(*_number(str(error))) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _number(text: str) -> tuple[int, str]:
    found = re.search(r"os error (\d+)", text)
    return (int(found[1]) if found else 0), text


def read(path: Path) -> Snapshot:
    """What was written; raises `Damaged`."""
    check(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()[FACTS])
            return Snapshot(facts, {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{path.name} is no checkpoint: {error}") from error
