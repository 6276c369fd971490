"""Writes the lock file: the versions that a fresh environment with everything gets today.

Versions are those of any platform, so local labels such as `+cpu` are left out, and what only some platforms
need (a CUDA build's libraries) is not listed.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


def freeze() -> list[str]:
    """Install Recurra with all extras into a new environment; its packages as `name==version`, sorted."""
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        pip = [str(Path(directory, "bin", "python")), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", f"{ROOT / 'client'}", f"{ROOT}[dev]"], check=True)
        frozen = subprocess.run(
            [*pip, "freeze", "--all", "--exclude", "pip"], check=True, capture_output=True, text=True
        ).stdout
    pins = [line.partition("+")[0] for line in frozen.splitlines() if "==" in line and line[0] != "#"]
    return sorted(pin for pin in pins if not pin.startswith(("recurra=", "recurra-server=")))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("# Written by `make lock`.\n" + "\n".join(freeze()) + "\n")
