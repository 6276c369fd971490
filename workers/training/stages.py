"""The stages of a training job, the results of finished ones, and the progress over all of them."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from app.typedefs import Json
from workers.nn import Member
from workers.training.fit import FitResult
from workers.training.snapshot import Snapshot, of_module

PRETRAIN, FIT, ABLATION, REFIT = "pretrain", "fit", "ablation", "refit"
PREPARE, EVALUATE = "prepare", "evaluate"  # what has no steps, before the first stage and before the refits


@dataclass(frozen=True)
class TrainSpec:
    """The settings of a training job, with every default filled in."""

    task: str
    network: Json  # cell, layers, hidden_size, bidirectional, dropout
    training: Json  # the fields of TrainingConfig, and device
    options: Json
    columns: Json = field(default_factory=dict)  # of the upload, by canonical names; no setting of a training

    def digest(self) -> str:
        """The hash of the settings but the device: a checkpoint of another training has another."""
        training = {name: value for name, value in self.training.items() if name != "device"}
        text = json.dumps([self.task, self.network, training, self.options], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class TrainingResult:
    """The metrics of a training; the artifact is in the output directory unless it was stopped."""

    metrics: Json
    baseline: Json
    parameters: int
    stopped: bool


@dataclass(frozen=True)
class Stage:
    """One fit of one network; stages run in the order of their numbers."""

    phase: str
    number: int
    member: int = 0

    def event_fields(self, members: int) -> Json:
        """The fields that name this stage in each of its events."""
        fields: Json = {"phase": self.phase, "stage": self.number}
        return fields | {"member": self.member} if members > 1 else fields


@dataclass
class StageResults:
    """The results of finished stages, which are part of every later stage's checkpoints."""

    steps: int = 0  # of all finished stages
    pretrained: Snapshot | None = None  # embeddings and first layer
    fits: list[FitResult] = field(default_factory=list)  # of members
    fitted: list[Snapshot] = field(default_factory=list)  # their weights
    ablation: FitResult | None = None  # of the network without a part, where the plan has one
    ablated: Snapshot | None = None  # its weights
    evaluation: Json | None = None  # state, metrics and baseline of all members together
    refitted: list[Snapshot] = field(default_factory=list)

    def facts(self) -> Json:
        """The results that are JSON."""
        fits = [asdict(fit) for fit in self.fits]
        facts: Json = {"steps": self.steps, "fits": fits, "judged": self.evaluation}
        return facts if self.ablation is None else {**facts, "ablation": asdict(self.ablation)}

    def parts(self) -> Mapping[str, Snapshot]:
        """The results that are tensors."""
        parts = {f"fitted{number}": weights for number, weights in enumerate(self.fitted)}
        parts |= {f"refitted{number}": weights for number, weights in enumerate(self.refitted)}
        single = {"pretrained": self.pretrained, "ablated": self.ablated}
        return parts | {name: weights for name, weights in single.items() if weights is not None}

    @classmethod
    def of(cls, snapshot: Snapshot | None) -> "StageResults":
        """The results in a checkpoint; none without one."""
        if snapshot is None:
            return cls()
        facts = snapshot.facts
        ablation = facts.get("ablation")
        single = {name: snapshot.part(name) if name in facts else None for name in ("pretrained", "ablated")}
        weights = {
            kind: [
                snapshot.part(f"{kind}{number}")
                for number in range(len(facts["fits"]))
                if f"{kind}{number}" in facts
            ]
            for kind in ("fitted", "refitted")
        }
        return cls(
            facts["steps"],
            single["pretrained"],
            [FitResult(**fit) for fit in facts["fits"]],
            weights["fitted"],
            None if ablation is None else FitResult(**ablation),
            single["ablated"],
            facts["judged"],
            weights["refitted"],
        )


def first_layer(model: Member) -> Snapshot:
    """The weights of the embeddings and the first recurrent layer, which pretraining learns."""
    names = ("embed.", "recurrent.forwards.0.", "recurrent.backwards.0.")
    weights = of_module(model).tensors
    return Snapshot({}, {name: value for name, value in weights.items() if name.startswith(names)})


class StageProgress:
    """Turns the steps of stages into one fraction of all steps, with an estimate of the remaining time."""

    def __init__(self, on: Callable[[Json], None], expected: Mapping[int, int]) -> None:
        self._on = on
        self._steps = dict(expected)  # by number of the stage; the steps taken once it has ended
        self._began = time.monotonic()
        self._first: float | None = None  # at the first event: above zero after an interruption

    def expect(self, stage: int, steps: int) -> None:
        """Record how many steps a stage took or will take."""
        self._steps[stage] = steps

    def announce(self, phase: str, stage: int) -> None:
        """Report what takes its time before the first step of a stage."""
        self._on({"type": "progress", "fraction": round(self._fraction(stage, 0), 4), "phase": phase})

    def _fraction(self, stage: int, step: int) -> float:
        """The share of all steps that are done after this one of a stage."""
        before = sum(steps for number, steps in self._steps.items() if number < stage)
        return (before + step) / max(sum(self._steps.values()), 1)

    def __call__(self, event: Json) -> None:
        """Report an event of the loop, with the fraction of all stages."""
        if event["type"] != "progress":
            self._on(event)
            return
        fraction = self._fraction(event["stage"], event["step"])
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = fraction, now
        elapsed, done = now - self._began, fraction - self._first
        eta = round(elapsed * (1 - fraction) / done, 1) if done > 0 else None
        names = ("epoch", "epochs", "step", "steps", "samples_per_second", "phase", "member")
        progress = {name: event[name] for name in names if name in event}
        self._on({"type": "progress", "fraction": round(fraction, 4), "eta_seconds": eta, **progress})
