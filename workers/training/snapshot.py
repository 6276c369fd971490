"""Snapshots: the state of a part of a training as JSON and tensors; parts nest under names."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from app.typedefs import Json


@dataclass(frozen=True)
class Snapshot:
    """JSON facts and tensors on the CPU that nobody else writes to."""

    facts: Json = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: "Mapping[str, Snapshot]", **facts: Any) -> Self:
        """One snapshot of several parts by name."""
        joined = {
            f"{name}/{key}": value for name, part in parts.items() for key, value in part.tensors.items()
        }
        return cls(facts | {name: part.facts for name, part in parts.items()}, joined)

    def part(self, name: str) -> "Snapshot":
        """The part of this name."""
        start = f"{name}/"
        tensors = {
            key.removeprefix(start): value for key, value in self.tensors.items() if key.startswith(start)
        }
        return Snapshot(self.facts[name], tensors)


def copied(tensor: Tensor) -> Tensor:
    """A contiguous copy of a tensor on the CPU."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def of_module(module: nn.Module) -> Snapshot:
    """The snapshot of a network's weights."""
    return Snapshot({}, {name: copied(value) for name, value in module.state_dict().items()})


def of_optimizer(optimizer: torch.optim.Optimizer) -> Snapshot:
    """The snapshot of an optimiser: moments as tensors, the rest as JSON."""
    state = optimizer.state_dict()
    facts: Json = {"groups": state["param_groups"], "scalars": {}}
    tensors: dict[str, Tensor] = {}
    for number, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{number}/{name}"] = copied(value)
            else:
                facts["scalars"][f"{number}/{name}"] = value
    return Snapshot(facts, tensors)


def restore_optimizer(optimizer: torch.optim.Optimizer, snapshot: Snapshot) -> None:
    """The inverse of `of_optimizer`."""
    state: dict[int, Json] = {}
    for key, value in (*snapshot.tensors.items(), *snapshot.facts["scalars"].items()):
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": snapshot.facts["groups"]})


def of_random(device: torch.device) -> Snapshot:
    """The random states of Python, numpy and torch, and of the device."""
    version, numbers, gauss = random.getstate()
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - whatever a library draws from it
    facts = {
        "python": [version, list(numbers), gauss],
        "numpy": {**legacy, "state": {"pos": legacy["state"]["pos"], "key": legacy["state"]["key"].tolist()}},
    }
    tensors = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    return Snapshot(facts, tensors)


def restore_random(device: torch.device, snapshot: Snapshot) -> None:
    """The inverse of `of_random`."""
    version, numbers, gauss = snapshot.facts["python"]
    random.setstate((version, tuple(numbers), gauss))
    legacy = snapshot.facts["numpy"]
    key = np.array(legacy["state"]["key"], np.uint32)
    np.random.set_state({**legacy, "state": {"pos": legacy["state"]["pos"], "key": key}})  # noqa: NPY002
    torch.set_rng_state(snapshot.tensors["torch"])
    if device.type == "cuda" and "cuda" in snapshot.tensors:
        torch.cuda.set_rng_state(snapshot.tensors["cuda"], device)
