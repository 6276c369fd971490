"""Forecasts of the M3 groups and other real files, through the service, with default options.

For M3 the whole training part is uploaded, and forecasts from its end are scored against the competition's
own test part. For the others the file's own split is held out.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.forecasting import files, m3
from benchmarks.forecasting.competition import GROUPS
from benchmarks.report import ROOT, write
from benchmarks.stack import stack

PYTHON = ROOT / ".venv-statsforecast" / "bin" / "python"
CELLS = ("gru", "lstm", "rnn")
SEEDS, MEMBERS = (1, 2, 3), 3
TEXT = """## Forecasting

{first}

Other files, held out by their own split, rolling origins, one seed; sMAPE / MASE, and seconds from submit to
a served version.

{second}

Mean absolute error of each long series, a day at a time through its test part. Nothing but the series itself
is known; MSTL with ETS is statsforecast's, fitted anew to the last ten weeks before each window.

{third}"""


def main() -> None:
    """Run and write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecasting", description=__doc__)
    parser.add_argument("--groups", nargs="*", choices=[group.name for group in GROUPS], help="only M3's")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--python", type=Path, default=PYTHON, help="the interpreter with statsforecast")
    chosen = parser.parse_args()
    groups = [group for group in GROUPS if chosen.groups is None or group.name in chosen.groups]
    python = chosen.python if chosen.python.exists() else None
    plans = [
        m3.Plan("gru", "gru", chosen.seeds),
        m3.Plan(f"gru, `ensemble` {MEMBERS}", "gru", chosen.seeds, MEMBERS),
        m3.Plan("lstm", "lstm", chosen.seeds[:1]),
        m3.Plan("rnn", "rnn", chosen.seeds[:1]),
    ]
    with stack() as http, tempfile.TemporaryDirectory() as name:
        directory, second, third = Path(name), "", ""
        if chosen.groups is None:
            more = [files.demand(python, directory)] if python else []
            second, third = files.others(http, [*files.FILES, *more], CELLS, python, directory)
        first = m3.run(http, groups, plans, python)
    text = TEXT.format(first=first, second=second, third=third)
    if chosen.groups is None and tuple(chosen.seeds) == SEEDS and python is not None:
        write("forecasting", "make bench-forecasting", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
