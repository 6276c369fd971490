"""Keeps RESULTS.md: one section a benchmark, replaced when it runs again."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
ROOT = RESULTS.parent.parent


def machine() -> str:
    """Processor, cores and operating system, as far as they can be told."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def write(name: str, command: str, text: str) -> None:
    """Put a section into RESULTS.md, with the command that repeats it, commit, day and machine."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT, check=False
    ).stdout.strip()
    when = datetime.now(UTC).date().isoformat()
    section = (
        f"<!-- {name} -->\n{text}\n\n`{command}` on {when}, commit {commit}, {machine()}.\n<!-- /{name} -->"
    )
    old = RESULTS.read_text() if RESULTS.exists() else "# Measured results\n"
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    new = pattern.sub(lambda _: section, old) if pattern.search(old) else f"{old.rstrip()}\n\n{section}\n"
    RESULTS.write_text(new)
    print(f"\n{text}\n")
