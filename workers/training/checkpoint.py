"""Checkpoint files: a snapshot with the hash of its content in its name, written whole or not at all."""

import hashlib
import json
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from app.infrastructure.checkpoint_name import CheckpointDamaged, checkpoint_name, verify_checkpoint
from app.infrastructure.disk import fsync_path
from workers.training.snapshot import Snapshot

FACTS = "recurra"  # key of the JSON in the file's own metadata


def write(directory: Path, step: int, snapshot: Snapshot) -> Path:
    """Write a checkpoint, flush it to the disk, and then rename it to its step and sha256; its path.

    Raises `OSError`; then no file is left.
    """
    part = directory / f"{step:012d}.part"
    try:
        save_file(snapshot.tensors, part, metadata={FACTS: json.dumps(snapshot.facts)})
        fsync_path(part)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = directory / checkpoint_name(step, digest)
        part.replace(path)
        fsync_path(directory)
    except SafetensorError as error:  # which has the number of an `OSError` in its text only
        raise OSError(*_number(str(error))) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _number(text: str) -> tuple[int, str]:
    match = re.search(r"os error (\d+)", text)
    return (int(match[1]) if match else 0), text


def read(path: Path) -> Snapshot:
    """The snapshot in a checkpoint file; raises `CheckpointDamaged`."""
    verify_checkpoint(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()[FACTS])
            return Snapshot(facts, {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointDamaged(f"{path.name} is no checkpoint: {error}") from error
