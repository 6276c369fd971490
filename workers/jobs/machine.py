"""The devices of this machine that a worker uses, found without torch: only child processes import it."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

from app.services.jobs.devices import AUTO, CPU, CUDA

NVIDIA_GPUS = "proc/driver/nvidia/gpus"  # one directory a GPU
WSL_GPU = "dev/dxg"  # under Windows; it does not say how many there are
CUDA_BUILD = re.compile(r"^cuda\b[^=]*=\s*['\"]", re.MULTILINE)  # in torch/version.py; else it is None


class ConfiguredDeviceMissing(Exception):
    """The worker is configured for a device that this machine does not have."""


def worker_devices(setting: str, gpus: int | None = None) -> tuple[str, ...]:
    """Return the devices for `RECURRA_DEVICE`, the preferred one first: `cpu`, every GPU, or the one named.

    `gpus` is the number of usable GPUs, by default this machine's. Raises `ConfiguredDeviceMissing`.
    """
    if setting == CPU:
        return (CPU,)
    count = usable_gpus() if gpus is None else gpus
    every = tuple(f"{CUDA}:{number}" for number in range(count))
    if setting == AUTO:
        return every or (CPU,)
    if not every or (setting != CUDA and setting not in every):
        there = ", ".join(every) or "none, or this torch is built without CUDA"
        raise ConfiguredDeviceMissing(f"RECURRA_DEVICE is {setting}; the CUDA devices here: {there}")
    return every if setting == CUDA else (setting,)


def usable_gpus(root: Path = Path("/")) -> int:
    """Return how many GPUs a process of this environment can use; `root` holds `proc` and `dev`."""
    directory = root / NVIDIA_GPUS
    count = len(list(directory.iterdir())) if directory.is_dir() else int((root / WSL_GPU).exists())
    return min(count, _visible_gpus(count)) if count and torch_has_cuda() else 0


def torch_has_cuda() -> bool:
    """Return whether the installed torch is a build for CUDA, by its version file."""
    spec = find_spec("torch")
    paths = [Path(place) / "version.py" for place in (spec.submodule_search_locations or ())] if spec else []
    return any(CUDA_BUILD.search(path.read_text(encoding="utf-8")) for path in paths if path.is_file())


def _visible_gpus(count: int) -> int:
    """Return how many GPUs CUDA_VISIBLE_DEVICES names: a list that ends at the first invalid entry."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return count
    entries = [name.strip() for name in names.split(",")]
    invalid = (number for number, name in enumerate(entries) if not name or name.startswith("-"))
    return next(invalid, len(entries))
