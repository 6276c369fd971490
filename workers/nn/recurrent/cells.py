"""The recurrent cells: one table, and one module that hides what tells them apart."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from workers.nn.recurrent.dropout import Dropout, drop_weights
from workers.nn.recurrent.loops import GRUStates, RNNStates


@dataclass(frozen=True)
class Cell:
    """A cell of torch: its module, how many gates its matrices stack, how many tensors its state has."""

    module: type[nn.RNN | nn.LSTM | nn.GRU]
    gates: int
    states: int
    forget_gate: int | None = None  # which of the stacked gates keeps the memory
    input_gate: int | None = None  # which lets new values in, where that is not the other's complement
    update_gate: int | None = None  # which does both: its activation is the share of the state that stays
    states_of: Callable[..., Tensor] | None = None  # what trains faster than the module on a processor


CELLS = {
    "rnn": Cell(nn.RNN, gates=1, states=1, states_of=RNNStates.apply),
    "lstm": Cell(nn.LSTM, gates=4, states=2, forget_gate=1, input_gate=0),
    "gru": Cell(nn.GRU, gates=3, states=1, update_gate=1, states_of=GRUStates.apply),
}

PARAMETERS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
State = Tensor | tuple[Tensor, Tensor]
Run = Callable[[nn.Module, Tensor, State], tuple[Tensor, State]]


class Recurrent(nn.Module):
    """A stack of one cell; its state is one tensor (state_rows, batch, hidden), for an LSTM h above c.

    Each layer and direction is a module of one layer. A backward one reads each row turned round at the
    row's own end, so that padding, which comes last, reaches no real step in either direction.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        *,
        layers: int,
        bidirectional: bool,
        dropout: float,
        variational: bool = False,
        weight_drop: float = 0.0,
        layer_norm: bool = False,
        memory_steps: int = 0,
    ) -> None:
        super().__init__()
        self.cell = CELLS[cell]
        self.hidden_size = hidden_size
        self.directions = 2 if bidirectional else 1
        self.state_rows = layers * self.directions * self.cell.states
        self.weight_drop = weight_drop
        self.dropout = Dropout(dropout, variational=variational)  # between layers
        # Ba, Kiros & Hinton (2016), "Layer normalization", around the cells: they stay those of torch.
        widths = [input_size, *[hidden_size * self.directions] * layers] if layer_norm else []
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)  # the last one: of the top states
        self.forwards, self.backwards = nn.ModuleList(), nn.ModuleList()
        for layer in range(layers):
            width = hidden_size * self.directions if layer else input_size
            for modules in (self.forwards, self.backwards)[: self.directions]:
                modules.append(self.cell.module(width, hidden_size, batch_first=True))
        for module in self.modules():
            if isinstance(module, self.cell.module):
                self._initialise(module)
                if memory_steps:
                    self._open_gates(module, memory_steps)

    def _initialise(self, module: nn.Module) -> None:
        """Glorot input weights, orthogonal recurrent ones per gate, zero biases, a forget gate that is open.

        Jozefowicz, Zaremba & Sutskever (2015), "An empirical exploration of recurrent network architectures".
        """
        size = self.hidden_size
        for name, weight in module.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(weight)
                if self.cell.forget_gate is not None and name.startswith("bias_ih"):
                    start = self.cell.forget_gate * size
                    nn.init.ones_(weight.data[start : start + size])
                continue
            for gate in torch.split(weight.data, size):  # (hidden, input) or (hidden, hidden)
                init = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
                init(gate)

    def _open_gates(self, module: nn.Module, memory_steps: int) -> None:
        """Have half of the units forget after 1 to `memory_steps` steps, at first.

        Each has its own time, evenly spread by its logarithm, after Tallec & Ollivier (2018), "Can recurrent
        neural networks warp time?". The other half begins as always, for what is near. A vanilla RNN has no
        gate.
        """
        size, cell = self.hidden_size, self.cell
        keeping = cell.forget_gate if cell.update_gate is None else cell.update_gate
        if keeping is None:
            return
        bias = dict(module.named_parameters())["bias_ih_l0"].data.view(cell.gates, size)
        kept = torch.rand(size // 2) * math.log(memory_steps)
        bias[keeping, size - size // 2 :] = kept
        if cell.input_gate is not None:
            bias[cell.input_gate, size - size // 2 :] = -kept

    def initial_state(self, batch: int) -> Tensor:
        """The state before the first step: zeros (state_rows, batch, hidden)."""
        return next(self.parameters()).new_zeros(self.state_rows, batch, self.hidden_size)

    def forward(self, inputs: Tensor, state: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inputs (batch, time, input) to top states (batch, time, directions * hidden) and the last state.

        Top states are right at every real step of rows of these lengths. The last state is that of the last
        step, real or not; `forward_ragged` gives each row's own.
        """
        if lengths is None:
            lengths = torch.full((len(inputs),), inputs.shape[1], device=inputs.device)
        return self.run_by(self._run, inputs, state, lengths)

    def forward_ragged(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, but each row ends at its own length, so the state is that of its last real step."""

        def run(module: nn.Module, inputs: Tensor, state: State) -> tuple[Tensor, State]:
            packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
            outputs, last = module(packed, state)
            return pad_packed_sequence(outputs, batch_first=True)[0], last

        return self.run_by(run, inputs, state, lengths)

    def run_by(self, run: Run, inputs: Tensor, state: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, where `run` computes each module's outputs and last state."""
        turn = turned(lengths, inputs.shape[1]) if len(self.backwards) else None  # (batch, time)
        lasts: list[State] = []
        for layer, ahead in enumerate(self.forwards):
            if len(self.norms):
                inputs = self.norms[layer](inputs)
            if layer:
                inputs = self.dropout(inputs)
            outputs, last = run(ahead, inputs, self._part(state, len(lasts)))  # (batch, time, hidden)
            lasts.append(last)
            if turn is not None:
                again, last = run(self.backwards[layer], pick(inputs, turn), self._part(state, len(lasts)))
                lasts.append(last)
                outputs = torch.cat([outputs, pick(again, turn)], dim=-1)  # (batch, time, 2 * hidden)
            inputs = outputs
        return self.norms[-1](inputs) if len(self.norms) else inputs, self._joined(lasts)

    def _run(self, module: nn.Module, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        dropped = drop_weights(module, self.weight_drop) if self.training and self.weight_drop else {}
        states_of = self.cell.states_of if self._faster_than_torch(inputs) else None
        if states_of is not None and isinstance(state, Tensor):
            weights = dict(module.named_parameters()) | dropped
            states = states_of(inputs.transpose(0, 1), state[0], *(weights[name] for name in PARAMETERS))
            return states.transpose(0, 1), states[-1:]
        result: tuple[Tensor, State] = (
            functional_call(module, dropped, (inputs, state)) if dropped else module(inputs, state)
        )
        return result

    def _faster_than_torch(self, inputs: Tensor) -> bool:
        """Whether states are better computed without torch's modules, which predictions and exports use."""
        return self.training and inputs.device.type == "cpu" and not torch.is_autocast_enabled("cpu")

    def _part(self, state: Tensor, row: int) -> State:
        """The state of one module, as torch wants it."""
        if self.cell.states == 1:
            return state[row : row + 1].contiguous()
        half = self.state_rows // 2
        return state[row : row + 1].contiguous(), state[half + row : half + row + 1].contiguous()

    def _joined(self, states: list[State]) -> Tensor:
        if self.cell.states == 1:
            return torch.cat([state for state in states if isinstance(state, Tensor)])
        return torch.cat([state[part] for part in (0, 1) for state in states])

    def flatten(self) -> None:
        """Lay the weights of each module out as one block, as cuDNN wants them after loading or copying."""
        for module in (*self.forwards, *self.backwards):
            module.flatten_parameters()


class Memoryless(nn.Module):
    """No recurrence, in place of a stack of cells: each step's input is its state, whatever came before."""

    directions = state_rows = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden_size = width
        self.register_buffer("nothing", torch.zeros(()), persistent=False)

    def initial_state(self, batch: int) -> Tensor:
        """A state that is never read, (1, batch, width)."""
        nothing: Tensor = self.nothing  # type: ignore[assignment]
        return nothing.expand(1, batch, self.hidden_size)

    def forward(self, inputs: Tensor, state: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inputs (batch, time, width) and the state, both as they are."""
        del lengths
        return inputs, state

    def forward_ragged(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`."""
        return self.forward(inputs, state, lengths)

    def flatten(self) -> None:
        """Nothing has to be laid out."""


def turned(lengths: Tensor, time: int) -> Tensor:
    """Which step to read where (batch, time) so that each row runs backwards from its end; padding stays."""
    steps = torch.arange(time, device=lengths.device)[None]  # (1, time)
    ends = lengths[:, None]  # (batch, 1)
    return torch.where(steps < ends, ends - 1 - steps, steps)


def pick(sequence: Tensor, steps: Tensor) -> Tensor:
    """Steps (batch, n) of a sequence (batch, time, width), as (batch, n, width)."""
    return sequence.gather(1, steps[:, :, None].expand(-1, -1, sequence.shape[2]))


def at(sequence: Tensor, steps: Tensor) -> Tensor:
    """One step (batch,) of each row of a sequence (batch, time, width), as (batch, 1, width)."""
    return pick(sequence, steps[:, None])


def real(lengths: Tensor, time: int) -> Tensor:
    """Which of so many steps are no padding, (batch, time)."""
    return torch.arange(time, device=lengths.device)[None] < lengths[:, None]


def random_window(steps: int, mean: int) -> int:
    """Steps of windows of equal size that so many steps are cut into, half to twice `mean` of them."""
    longest = int(torch.randint(max(1, mean // 2), 2 * mean + 1, ()))
    count = -(-steps // longest)
    return -(-steps // count)


def cut_windows(sequences: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Sequences (batch, steps, width) as windows (batch * count, size, width), and the lengths of these.

    A network reads a window as if nothing stood before and behind it: Chen & Huo (2016), "Training deep
    bidirectional LSTM acoustic model for LVCSR by a context-sensitive-chunk BPTT approach". Windows behind
    the end of a row have length 0.
    """
    batch, steps, width = sequences.shape
    count = -(-steps // size)
    padded = nn.functional.pad(sequences, (0, 0, 0, count * size - steps))  # (batch, count * size, width)
    starts = size * torch.arange(count, device=lengths.device)
    left = (lengths[:, None] - starts).clamp(0, size)  # (batch, count)
    return padded.reshape(batch * count, size, width), left.flatten()


def join_windows(windows: Tensor, batch: int, steps: int) -> Tensor:
    """The inverse of `cut_windows`: (batch * count, size, width) as (batch, steps, width)."""
    return windows.reshape(batch, -1, windows.shape[2])[:, :steps]
