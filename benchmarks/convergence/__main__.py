"""Seconds of training until the forecasts of M3's monthly series are as good as neuralforecast's best ones.

All train on the competition's training part without the last horizon of each series, on which sMAPE is
looked at; the competition's own test part is never read. Times are of the processor as well as on the clock,
since other processes may share it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.typedefs import Json
from benchmarks.forecasting.competition import GROUPS
from benchmarks.report import ROOT, table, write

PEERS = ROOT / ".venv-neuralforecast" / "bin" / "python"
MONTHLY = next(group for group in GROUPS if group.name == "monthly")
CELLS = ("lstm", "gru")
NEURALFORECAST = "neuralforecast 3.3.0"


@dataclass(frozen=True)
class Contestant:
    """A program that prints a line with step, seconds and sMAPE after each look."""

    label: str
    module: str
    python: Path
    steps: tuple[int, int] | None = None  # in all, and between two looks

    def curve(self, cell: str, seed: int) -> list[Json]:
        """What it printed of one training."""
        arguments = [MONTHLY.path("train"), MONTHLY.horizon, cell, seed, *(self.steps or ())]
        command = [str(part) for part in (self.python, "-m", self.module, *arguments)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return [line for line in map(json.loads, done.stdout.splitlines()) if "seconds" in line]


def reached(curve: Sequence[Json], smape: float) -> Json | None:
    """The first look at which the forecasts were as good."""
    return next((look for look in curve if look["smape"] <= smape), None)


def seconds(look: Json | None) -> str:
    """Of a look, on the clock and of the processor."""
    return "never" if look is None else f"{look['seconds']:.1f} / {look['cpu']:.1f}"


def rows(curves: dict[tuple[str, str, int], list[Json]]) -> list[list[object]]:
    """A row for each training; the error to reach is neuralforecast's best of the same cell and seed."""
    lines: list[list[object]] = []
    for (label, cell, seed), curve in curves.items():
        best = min(look["smape"] for look in curve)
        wanted = min(look["smape"] for look in curves[NEURALFORECAST, cell, seed])
        its_own = seconds(reached(curve, best))
        lines.append([label, cell, seed, f"{best:.2f}", its_own, seconds(reached(curve, wanted))])
    return lines


HEAD = ["training", "cell", "seed", "best sMAPE", "s to it, clock / CPU", "s to neuralforecast's best"]


def main() -> None:
    """Run all trainings, one after the other, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=1000, help="of neuralforecast; its default is 1000")
    chosen = parser.parse_args()
    contestants = (
        Contestant(
            NEURALFORECAST,
            "benchmarks.convergence.peers.neuralforecast_models",
            PEERS,
            (chosen.steps, max(1, chosen.steps // 20)),
        ),
        Contestant(
            "plain PyTorch loop", "benchmarks.convergence.plain_loop", Path(sys.executable), (5000, 100)
        ),
        Contestant("Recurra", "benchmarks.convergence.recurra", Path(sys.executable)),
    )
    curves: dict[tuple[str, str, int], list[Json]] = {}
    for seed in chosen.seeds:
        for cell in CELLS:
            for one in contestants:
                curves[one.label, cell, seed] = one.curve(cell, seed)
                print(one.label, cell, seed, curves[one.label, cell, seed][-1], flush=True)
    text = f"""## Time to a validation error

M3 monthly, the last {MONTHLY.horizon} values of each series of the training part held out; default options of
each, imports and looks at the held-out values not counted. neuralforecast trains for {chosen.steps} steps.

{table(HEAD, rows(curves))}"""
    write("convergence", "make bench-convergence", text)


if __name__ == "__main__":
    main()
