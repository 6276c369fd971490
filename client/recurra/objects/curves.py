"""Learning curves: how the losses went, epoch by epoch."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, overload

from recurra.errors import InvalidInput, Json
from recurra.html import line_chart

FIT = "fit"  # the phase that every training has
LOSSES = ("train_loss", "valid_loss")


class Curves(Sequence[Json]):
    """One object an epoch, with `epoch`, `train_loss`, `valid_loss`, `learning_rate` and more."""

    def __init__(self, epochs: Sequence[Json]) -> None:
        self._epochs = list(epochs)

    def __len__(self) -> int:
        return len(self._epochs)

    def __iter__(self) -> Iterator[Json]:
        return iter(self._epochs)

    @overload
    def __getitem__(self, index: int) -> Json: ...
    @overload
    def __getitem__(self, index: slice) -> "Curves": ...
    def __getitem__(self, index: int | slice) -> "Json | Curves":
        return Curves(self._epochs[index]) if isinstance(index, slice) else self._epochs[index]

    def to_pandas(self) -> Any:
        """A data frame of pandas, which must be imported already; a row for each epoch."""
        return _library("pandas").DataFrame(self._epochs)

    def to_polars(self) -> Any:
        """A data frame of polars, which must be imported already; a row for each epoch."""
        return _library("polars").DataFrame(self._epochs)

    def stages(self) -> dict[str, "Curves"]:
        """The curves of each network and each phase: the fit is called "", the others for example `refit`."""
        stages: dict[str, list[Json]] = {}
        for epoch in self._epochs:
            stages.setdefault(_stage_name(epoch), []).append(epoch)
        return {name: Curves(epochs) for name, epochs in stages.items()}

    def __repr__(self) -> str:
        last = self._epochs[-1] if self._epochs else {}
        losses = ", ".join(f"{name} {last[name]:.4g}" for name in LOSSES if last.get(name) is not None)
        count = len(self.stages())
        stages = f" in {count} stages" if count > 1 else ""
        return f"<Curves of {len(self)} epochs{stages}{': ' if losses else ''}{losses}>"

    def _repr_html_(self) -> str:
        lines = {
            f"{stage}: {name}" if stage else name: [epoch.get(name) for epoch in curves]
            for stage, curves in self.stages().items()
            for name in LOSSES
        }
        return line_chart("loss", {name: line for name, line in lines.items() if any(line)})


def _stage_name(epoch: Json) -> str:
    phase, member = epoch.get("phase", FIT), epoch.get("member")
    network = "" if member is None else f"network {member + 1}"
    if phase == FIT:
        return network
    return f"{phase} of {network}" if network else str(phase)


def _library(name: str) -> Any:
    if name not in sys.modules:
        raise InvalidInput(f"import {name} first")
    return sys.modules[name]
