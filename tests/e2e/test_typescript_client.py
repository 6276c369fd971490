"""A TypeScript client with the types that `openapi-typescript` generates from the document.

It needs Node.js, and what `npm ci --prefix tests/e2e/typescript` installs.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.fixtures.stack import Stack

SOURCE = Path(__file__).with_name("typescript")
INSTALLED = SOURCE / "node_modules"


@pytest.mark.skipif(
    shutil.which("node") is None or not INSTALLED.is_dir(),
    reason="needs Node.js and `npm ci --prefix tests/e2e/typescript`",
)
def test_it_uploads_trains_polls_predicts_and_sweeps(stack: Stack, tmp_path: Path) -> None:
    for name in ("client.ts", "package.json", "tsconfig.json"):
        shutil.copy(SOURCE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(INSTALLED)
    (tmp_path / "openapi.json").write_bytes(stack.http.get("/openapi.json").content)
    types = ["openapi.json", "--default-non-nullable", "false", "--output", "schema.ts"]
    run(tmp_path, INSTALLED / ".bin" / "openapi-typescript", *types)
    run(tmp_path, INSTALLED / ".bin" / "tsc")
    run(tmp_path, "node", "made/client.js", str(stack.http.base_url))


def run(directory: Path, *command: str | Path) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr
