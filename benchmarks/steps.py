"""Training steps of recurrent stacks on one core, over the time of the products that they need.

Two floors are measured in the same run. "Peak": as many multiplications, three times those of the forward
pass, in large products of matrices that a core's cache holds. "Products": those of the step itself, in their
own shapes and order, and nothing else. Times are of the processor, because other processes share it.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from benchmarks.report import table, write
from workers.nn.recurrent.cells import CELLS, Recurrent
from workers.training.device import prepare

INPUT = 8
SIDE = 384  # of the square matrices that show the peak
RUNS, REPEATS = 3, 2


@dataclass(frozen=True)
class Size:
    """A batch and the stack that learns from it."""

    batch: int
    time: int
    hidden: int
    layers: int

    def __str__(self) -> str:
        layers = f" ×{self.layers}" if self.layers > 1 else ""
        return f"B{self.batch} T{self.time} H{self.hidden}{layers}"

    def widths(self) -> list[int]:
        """What each layer reads."""
        return [INPUT] + [self.hidden] * (self.layers - 1)


SIZES = (
    Size(32, 168, 128, 2),
    Size(16, 512, 256, 2),
    Size(1, 64, 64, 1),
    Size(1, 168, 128, 2),
    Size(1, 512, 256, 2),
)


def peak(cell: str, size: Size) -> tuple[Callable[[], None], float]:
    """Large products, and how many of them are one step's."""
    gates = CELLS[cell].gates * size.hidden
    forward = sum(size.batch * size.time * gates * (size.hidden + width) for width in size.widths())
    share = 3 * forward / SIDE**3
    left, right, out = (torch.randn(SIDE, SIDE) for _ in range(3))
    count = max(1, round(share))

    def run() -> None:
        for _ in range(count):
            torch.mm(left, right, out=out)

    return run, share / count


def products(cell: str, size: Size) -> Callable[[], None]:
    """The products of one step, in their shapes and order."""
    gates, rows = CELLS[cell].gates * size.hidden, size.time * size.batch
    steps = (size.time, size.batch, -1)
    layers = [
        tuple(
            torch.randn(shape)
            for shape in (
                (rows, width),
                (rows, size.hidden),
                (rows, gates),
                (gates, width),
                (gates, size.hidden),
                (size.hidden, gates),  # the recurrent weight once more, laid out as forward products want it
            )
        )
        for width in size.widths()
    ]

    def run() -> None:
        for inputs, states, _, w_ih, _, transposed in layers:
            sums = torch.mm(inputs, w_ih.t())
            for state, out in zip(states.view(steps), sums.view(steps), strict=True):
                torch.mm(state, transposed, out=out)
        for inputs, states, of_gates, w_ih, w_hh, _ in reversed(layers):
            carried = torch.empty(size.batch, size.hidden)
            for gradient in of_gates.view(steps):
                torch.mm(gradient, w_hh, out=carried)
            torch.mm(inputs.t(), of_gates)
            torch.mm(states.t(), of_gates)
            if w_ih.shape[1] == size.hidden:  # the first layer's inputs need no gradient
                torch.mm(of_gates, w_ih)

    return run


def step(cell: str, size: Size, *, fast: bool) -> Callable[[], None]:
    """Forward and backward of a stack; without `fast`, of torch's modules."""
    network = Recurrent(cell, INPUT, size.hidden, layers=size.layers, bidirectional=False, dropout=0.0)
    if not fast:
        network.cell = replace(network.cell, states_of=None)
    inputs = torch.randn(size.batch, size.time, INPUT)
    gradient = torch.randn(size.batch, size.time, size.hidden)

    def run() -> None:
        network.zero_grad()
        states: Tensor = network(inputs, network.initial_state(size.batch))[0]
        states.backward(gradient)  # type: ignore[no-untyped-call]

    return run


def milliseconds(function: Callable[[], None], repeats: int) -> float:
    """The median processor time of a call; the first one is not counted."""
    function()
    times = []
    for _ in range(repeats):
        begun = time.thread_time()
        function()
        times.append(time.thread_time() - begun)
    return 1000 * median(times)


def spread(values: Sequence[float]) -> str:
    """The median of some runs, and the smallest and largest."""
    return f"**{median(values):.2f}** ({min(values):.2f} – {max(values):.2f})"


def compare(cell: str, size: Size, runs: int) -> list[list[object]]:
    """A row of the table for torch's modules, and one for what trainings use if that is another."""
    large, share = peak(cell, size)
    bare = products(cell, size)
    kinds = {"torch": step(cell, size, fast=False)}
    if CELLS[cell].states_of is not None:
        kinds["Recurra"] = step(cell, size, fast=True)
    repeats = REPEATS if size.batch > 1 else 10 * REPEATS
    floors: list[tuple[float, float]] = []
    results: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(runs):
        floors.append((milliseconds(large, repeats) * share, milliseconds(bare, repeats)))
        for kind, function in kinds.items():
            results[kind].append(milliseconds(function, repeats))
    rows: list[list[object]] = []
    for kind, times in results.items():
        ratios = [
            [took / floor[which] for took, floor in zip(times, floors, strict=True)] for which in (0, 1)
        ]
        figures = [median(times), median(floor[0] for floor in floors), median(floor[1] for floor in floors)]
        rows.append([cell, size, kind, *[f"{figure:.1f}" for figure in figures], *map(spread, ratios)])
    return rows


HEAD = ["cell", "size", "step by", "ms", "peak, ms", "products, ms", "over peak", "over products"]


def main() -> None:
    """Measure all cells and sizes, or those that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="*", choices=CELLS, default=list(CELLS))
    parser.add_argument("--sizes", nargs="*", type=int, default=list(range(len(SIZES))))
    chosen = parser.parse_args()
    prepare(torch.device("cpu"))
    rows: list[list[object]] = []
    for cell in chosen.cells:
        for index in chosen.sizes:
            rows += compare(cell, SIZES[index], RUNS)
            print(*rows[-1], flush=True)
    text = f"## Training steps on one core\n\n{table(HEAD, rows)}\n\n"
    text += (
        f"Forward and backward of a stack that reads {INPUT} features, one thread; medians of {RUNS} runs,"
    )
    text += " in brackets the smallest and the largest. Milliseconds of processor time."
    if len(chosen.cells) == len(CELLS) and len(chosen.sizes) == len(SIZES):
        write("steps", "make bench-steps", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
