"""The recurrent cells: one table, and one module that hides what tells them apart."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


@dataclass(frozen=True)
class Cell:
    """A cell of torch: its module, how many gates its matrices stack, how many tensors its state has."""

    module: type[nn.RNN | nn.LSTM | nn.GRU]
    gates: int
    states: int
    forget_gate: int | None = None  # which of the stacked gates keeps the memory


CELLS = {
    "rnn": Cell(nn.RNN, gates=1, states=1),
    "lstm": Cell(nn.LSTM, gates=4, states=2, forget_gate=1),
    "gru": Cell(nn.GRU, gates=3, states=1),
}


class Recurrent(nn.Module):
    """A stack of one cell; its state is one tensor (state_rows, batch, hidden), for an LSTM h above c."""

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        *,
        layers: int,
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.cell = CELLS[cell]
        self.hidden_size = hidden_size
        self.directions = 2 if bidirectional else 1
        self.module = self.cell.module(
            input_size,
            hidden_size,
            num_layers=layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,  # torch drops between layers only
        )
        self.state_rows = layers * self.directions * self.cell.states
        self._initialise()

    def _initialise(self) -> None:
        """Glorot input weights, orthogonal recurrent ones per gate, zero biases, a forget gate that is open.

        Jozefowicz, Zaremba & Sutskever (2015), "An empirical exploration of recurrent network architectures".
        """
        size = self.hidden_size
        for name, weight in self.module.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(weight)
                if self.cell.forget_gate is not None and name.startswith("bias_ih"):
                    start = self.cell.forget_gate * size
                    nn.init.ones_(weight.data[start : start + size])
                continue
            for gate in torch.split(weight.data, size):  # (hidden, input) or (hidden, hidden)
                init = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
                init(gate)

    def initial(self, batch: int) -> Tensor:
        """The state before the first step: zeros (state_rows, batch, hidden)."""
        return next(self.parameters()).new_zeros(self.state_rows, batch, self.hidden_size)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (batch, time, input) to top states (batch, time, directions * hidden) and the last state."""
        outputs, last = self.module(inputs, self._unpack(state))
        return outputs, self._pack(last)

    def forward_ragged(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, but each row ends at its own length, so the state is that of its last real step."""
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.module(packed, self._unpack(state))
        padded, _ = pad_packed_sequence(outputs, batch_first=True)
        return padded, self._pack(last)

    def _unpack(self, state: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.cell.states == 1:
            return state
        half = self.state_rows // 2
        return state[:half].contiguous(), state[half:].contiguous()

    def _pack(self, state: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        return state if isinstance(state, Tensor) else torch.cat(state)
