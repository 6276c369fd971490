"""The stages of a job's training, what finished ones left, and how far all of them are."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from app.typedefs import Json
from workers.nn import Member
from workers.training.fit import Fit
from workers.training.snapshot import Snapshot, of_module

PRETRAIN, FIT, REFIT = "pretrain", "fit", "refit"


@dataclass(frozen=True)
class TrainSpec:
    """What a job asks for, every default already filled in."""

    task: str
    network: Json  # cell, layers, hidden_size, bidirectional, dropout
    training: Json  # the fields of TrainingConfig, and device
    options: Json

    def digest(self) -> str:
        """What a checkpoint must have been taken of: everything but the device."""
        training = {name: value for name, value in self.training.items() if name != "device"}
        told = json.dumps([self.task, self.network, training, self.options], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What came out; the artifact is in the output directory unless it was stopped."""

    metrics: Json
    baseline: Json
    parameters: int
    stopped: bool


@dataclass(frozen=True)
class Stage:
    """One fit of one network; numbers rise in the order in which stages run."""

    phase: str
    number: int
    member: int = 0

    def place(self, members: int) -> Json:
        """What every event of the stage says."""
        told: Json = {"phase": self.phase, "stage": self.number}
        return told | {"member": self.member} if members > 1 else told


@dataclass
class Results:
    """What finished stages left: goes into every checkpoint of the later ones."""

    steps: int = 0  # of all of them
    pretrained: Snapshot | None = None  # embeddings and first layer
    fits: list[Fit] = field(default_factory=list)  # of members
    fitted: list[Snapshot] = field(default_factory=list)  # their weights
    judged: Json | None = None  # state, metrics and baseline of them all
    refitted: list[Snapshot] = field(default_factory=list)

    def facts(self) -> Json:
        """The JSON of it."""
        fits = [asdict(fit) for fit in self.fits]
        return {"steps": self.steps, "fits": fits, "judged": self.judged}

    def parts(self) -> Mapping[str, Snapshot]:
        """The tensors of it."""
        found = {f"fitted{number}": weights for number, weights in enumerate(self.fitted)}
        found |= {f"refitted{number}": weights for number, weights in enumerate(self.refitted)}
        return found if self.pretrained is None else {**found, "pretrained": self.pretrained}

    @classmethod
    def of(cls, snapshot: Snapshot | None) -> "Results":
        """What a checkpoint knows; nothing without one."""
        if snapshot is None:
            return cls()
        facts = snapshot.facts
        known = {
            kind: [
                snapshot.part(f"{kind}{number}")
                for number in range(len(facts["fits"]))
                if f"{kind}{number}" in facts
            ]
            for kind in ("fitted", "refitted")
        }
        return cls(
            facts["steps"],
            snapshot.part("pretrained") if "pretrained" in facts else None,
            [Fit(**fit) for fit in facts["fits"]],
            known["fitted"],
            facts["judged"],
            known["refitted"],
        )


def first_layer(model: Member) -> Snapshot:
    """The weights that a language model over the same inputs learns."""
    names = ("embed.", "recurrent.forwards.0.", "recurrent.backwards.0.")
    weights = of_module(model).tensors
    return Snapshot({}, {name: value for name, value in weights.items() if name.startswith(names)})


class Progress:
    """Turns the steps of stages into one fraction of them all, with the time that is left."""

    def __init__(self, on: Callable[[Json], None], expected: Mapping[int, int]) -> None:
        self._on = on
        self._steps = dict(expected)  # by number of the stage; what it took once it is over
        self._began = time.monotonic()
        self._first: float | None = None  # where it began, which after an interruption is not at zero

    def expect(self, stage: int, steps: int) -> None:
        """A stage took, or will take, so many steps."""
        self._steps[stage] = steps

    def __call__(self, event: Json) -> None:
        """Pass an event of the loop on."""
        if event["type"] != "progress":
            self._on(event)
            return
        before = sum(steps for stage, steps in self._steps.items() if stage < event["stage"])
        fraction = (before + event["step"]) / max(sum(self._steps.values()), 1)
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = fraction, now
        spent, way = now - self._began, fraction - self._first
        eta = round(spent * (1 - fraction) / way, 1) if way > 0 else None
        known = {key: event[key] for key in ("epoch", "epochs", "step", "steps", "samples_per_second")}
        self._on({"type": "progress", "fraction": round(fraction, 4), "eta_seconds": eta, **known})
