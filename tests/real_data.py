"""Where the real data sets lie that some tests read."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("RECURRA_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def shared(name: str) -> Path:
    """The file of that name; skips the test on a machine without it."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine (RECURRA_SHARED_DATA)")
    return path
