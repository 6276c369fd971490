"""Forecasts of the M3 groups and other real files, through the service, with default options.

For M3 the whole training part is uploaded, and forecasts from its end are scored against the competition's
own test part. For the others the file's own split is held out.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.forecasting import files, m3
from benchmarks.forecasting.competition import GROUPS
from benchmarks.report import ROOT, write
from benchmarks.stack import stack

PYTHON = ROOT / ".venv-statsforecast" / "bin" / "python"
CELLS = ("gru", "lstm", "rnn")
SEEDS, MEMBERS = (1, 2, 3), 3
PARTS = ("m3", "files")
M3 = """## Forecasting: M3

{text}"""
FILES = """## Forecasting: other files

Held out by their own split, rolling origins, one seed; sMAPE / MASE, and seconds from submit to a served
version.

{scores}

Mean absolute error of each long series, a day at a time through its test part. Nothing but the series itself
is known; MSTL with ETS is statsforecast's, fitted anew to the last ten weeks before each window.

{errors}"""


def plans(seeds: Sequence[int]) -> list[m3.Plan]:
    """What is trained on each group of M3."""
    return [
        m3.Plan("gru", "gru", seeds),
        m3.Plan(f"gru, `ensemble` {MEMBERS}", "gru", seeds, MEMBERS),
        m3.Plan("lstm", "lstm", seeds[:1]),
        m3.Plan("rnn", "rnn", seeds[:1]),
    ]


def measure_files(http: httpx.Client, python: Path | None, directory: Path) -> str:
    """The section of other files."""
    more = [files.demand(python, directory)] if python else []
    scores, errors = files.others(http, [*files.FILES, *more], CELLS, python, directory)
    return FILES.format(scores=scores, errors=errors)


def main() -> None:
    """Run and write the sections; what is not whole only prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecasting", description=__doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--groups", nargs="*", choices=[group.name for group in GROUPS], help="of M3")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS, help="of M3")
    parser.add_argument("--python", type=Path, default=PYTHON, help="the interpreter with statsforecast")
    chosen = parser.parse_args()
    groups = [group for group in GROUPS if chosen.groups is None or group.name in chosen.groups]
    python = chosen.python if chosen.python.exists() else None
    whole = python is not None and chosen.groups is None and tuple(chosen.seeds) == SEEDS
    with stack() as http, tempfile.TemporaryDirectory() as directory:
        if "m3" in chosen.part:
            text = M3.format(text=m3.run(http, groups, plans(chosen.seeds), python))
            _publish("forecasting", text, whole=whole)
        if "files" in chosen.part:
            text = measure_files(http, python, Path(directory))
            _publish("forecasting-files", text, whole=python is not None)


def _publish(name: str, text: str, *, whole: bool) -> None:
    """Write a section, or print what is no whole one."""
    if whole:
        write(name, "make bench-forecasting", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
