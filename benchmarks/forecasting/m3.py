"""The tables of the M3 competition: classical methods, peers, and trainings with default options."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from app.typedefs import Json
from benchmarks.forecasting import classical, service
from benchmarks.forecasting.competition import GROUPS, PERCENTS, PUBLISHED_TOTAL, Forecasts, Group
from benchmarks.forecasting.scores import Score, covered, scaled, score, spread
from benchmarks.report import ROOT, table
from benchmarks.stack import upload

PEER_MODELS = ("AutoETS", "DynamicOptimizedTheta")  # of statsforecast
PEERS = "benchmarks.forecasting.peers.statsforecast_models"
PUBLISHED = {"Naive2": "naive2", "Theta": "theta"}
TEXT = """sMAPE over the points of the competition's test part, which nothing was chosen by; in brackets the
published figure (Makridakis & Hibon 2000). Naive2, Theta and ETS are the product's own baselines. Networks
have default options; where there are several seeds, the mean, the least and the largest.

{smape}

MASE / signed error / MSIS of the 80 % interval / of the 95 % interval, in units of the seasonal naive
forecast's mean error in the series' past:

{scaled}

Coverage of the 80 % interval and of the 95 % interval, in brackets the least and the largest of a lead time:

{coverage}"""


@dataclass(frozen=True)
class Plan:
    """What to train."""

    label: str
    cell: str
    seeds: Sequence[int]
    members: int = 1

    def training(self, seed: int) -> Json:
        """The settings that are not the default."""
        return {"seed": seed} | ({"ensemble": self.members} if self.members > 1 else {})


@dataclass
class Scores:
    """Of all methods: by label, for each group the scores of its runs."""

    of: dict[str, dict[str, list[Score]]] = field(default_factory=dict)

    def add(self, label: str, group: Group, forecasts: Forecasts) -> Score:
        """Score a forecast."""
        found = score(group, forecasts)
        self.of.setdefault(label, {}).setdefault(group.name, []).append(found)
        print(f"{group.name}, {label}: sMAPE {found.smape:.2f}, {scaled([found])}", flush=True)
        return found

    def totals(self, label: str) -> list[float]:
        """SMAPE over the points of all groups, of each run."""
        runs = zip(*self.of[label].values(), strict=True)
        return [float(np.concatenate([one.points for one in run]).mean()) for run in runs]


def run(http: httpx.Client, groups: Sequence[Group], plans: Sequence[Plan], python: Path | None) -> str:
    """The tables; `python` has statsforecast, without it there are no peers."""
    scores = Scores()
    for group in groups:
        for label, method in classical.METHODS.items():
            scores.add(label, group, classical.forecast(group, method))
        for label, forecasts in (_peers(python, group) if python else {}).items():
            scores.add(label, group, forecasts)
        dataset = upload(http, group.path("train"), task="forecasting")
        for plan in plans:
            for seed in plan.seeds:
                model = f"m3-{group.name}-{plan.cell}-{plan.members}-{seed}"
                settings = plan.training(seed)
                _, seconds = service.trained(http, dataset, model, group.horizon, plan.cell, settings)
                print(f"{model}: {seconds:.0f} s", flush=True)
                scores.add(plan.label, group, service.forecasts(http, model, group))
    return _text(groups, scores)


def _peers(python: Path, group: Group) -> Mapping[str, Forecasts]:
    """What statsforecast forecasts, in its own environment."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "forecasts.npz"
        arguments = ["m3", group.path("train"), group.season, group.horizon, out, *PEER_MODELS]
        subprocess.run([str(part) for part in (python, "-m", PEERS, *arguments)], cwd=ROOT, check=True)
        with np.load(out) as found:
            return {
                f"statsforecast's {name}": Forecasts(
                    found[name],
                    {one: (found[f"{name}-lo-{one}"], found[f"{name}-hi-{one}"]) for one in PERCENTS},
                )
                for name in PEER_MODELS
            }


def _text(groups: Sequence[Group], scores: Scores) -> str:
    names = [group.name for group in groups]
    whole = len(groups) == len(GROUPS)
    smape = [[label, *_smape_cells(label, groups, scores, whole=whole)] for label in scores.of]
    in_scale = [[label, *(scaled(of[name]) for name in names)] for label, of in scores.of.items()]
    coverage = [
        [label, *(", ".join(covered(of[name], percent) for percent in PERCENTS) for name in names)]
        for label, of in scores.of.items()
        if np.isfinite(of[names[0]][0].msis[PERCENTS[0]])
    ]
    head = ["method", *names]
    first = table([*head, "all, by points"] if whole else head, smape)
    return TEXT.format(smape=first, scaled=table(head, in_scale), coverage=table(head, coverage))


def _smape_cells(label: str, groups: Sequence[Group], scores: Scores, *, whole: bool) -> list[str]:
    """The group's figures and that of all, with the published ones."""
    cells = [spread([one.smape for one in scores.of[label][group.name]]) for group in groups]
    cells += [spread(scores.totals(label))] if whole else []
    name = PUBLISHED.get(label)
    if name is None:
        return cells
    known = [getattr(group.published, name) for group in groups] + [getattr(PUBLISHED_TOTAL, name)]
    return [f"{cell} [{one:.2f}]" for cell, one in zip(cells, known, strict=False)]
