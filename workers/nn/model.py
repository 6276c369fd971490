"""A network that answers in one go: an input layer, a recurrent stack, a head."""

from collections.abc import Callable

from torch import Tensor, nn

from workers.nn.config import ModelConfig
from workers.nn.heads import Head, HeadInput, LabelsHead, NextTokenHead
from workers.nn.inputs import InputLayer, TokensInput
from workers.nn.losses import NONE, Penalties, token_losses, unhalved
from workers.nn.recurrent.cells import Memoryless, Recurrent, cut_windows, join_windows, random_window

HeadFactory = Callable[[ModelConfig, int, int], Head]  # of widths of a state and of an embedded input


def recurrent_stack(config: ModelConfig, width: int) -> Recurrent | Memoryless:
    """What reads embedded inputs (batch, time, width) step by step."""
    if config.cell == "none":
        return Memoryless(width)
    return Recurrent(
        config.cell,
        width,
        config.hidden_size,
        layers=config.layers,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
        variational=config.variational_dropout,
        memory_steps=config.memory_steps,
        weight_drop=config.weight_drop,
        layer_norm=config.layer_norm,
    )


class SequenceModel(nn.Module):
    """Outputs at every step or of the whole sequence, and a state from which the next call goes on."""

    def __init__(
        self, config: ModelConfig, input_layer: Callable[[ModelConfig], InputLayer], head: HeadFactory
    ) -> None:
        super().__init__()
        self.config = config
        self.embed = input_layer(config)
        self.recurrent = recurrent_stack(config, self.embed.width)
        states = self.recurrent.hidden_size * self.recurrent.directions
        self.head = head(config, states, self.embed.width)
        if (
            config.tie_weights
            and isinstance(self.head, NextTokenHead)
            and isinstance(self.embed, TokensInput)
        ):
            self.head.out.weight = self.embed.tables[0].weight  # type: ignore[assignment]

    @property
    def state_rows(self) -> int:
        """First size of the state (state_rows, batch, hidden)."""
        return self.recurrent.state_rows

    @property
    def state_size(self) -> int:
        """Last size of the state."""
        return self.recurrent.hidden_size

    @property
    def step_loss(self) -> bool:
        """Whether every step has a loss of its own, so that a sequence can be learned in parts."""
        return self.head.step_loss

    @property
    def row_loss(self) -> bool:
        """Whether a row has one loss, the likelihood of all its targets together."""
        return self.head.row_loss

    def forward(
        self, inputs: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Inputs (batch, time, features) to outputs (batch, time, width) or (batch, width), and the state."""
        read, state = self._recur(inputs, lengths, state)
        return self.head(read), state

    def _recur(
        self, inputs: Tensor, lengths: Tensor | None, state: Tensor | None
    ) -> tuple[HeadInput, Tensor]:
        if lengths is None:
            lengths = inputs.new_full((len(inputs),), inputs.shape[1]).long()
        embedded, lengths = self.recurrent_inputs(inputs, lengths)  # (batch, steps, width)
        state = self.initial_state(len(inputs)) if state is None else state
        if self.training and self.config.window:
            states = self._read_windows(embedded, lengths)
        else:
            states, state = self.recurrent(embedded, state, lengths)
        return HeadInput(states, embedded, lengths, inputs), state

    def _read_windows(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Top states (batch, steps, width) of windows that are read one by one."""
        batch, steps, _ = embedded.shape
        windows, sizes = cut_windows(embedded, lengths, random_window(steps, self.config.window))
        states, _ = self.recurrent(windows, self.initial_state(len(windows)), sizes)
        return join_windows(states, batch, steps)

    def recurrent_inputs(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the recurrent stack reads of inputs (batch, steps, width), and its lengths (batch,)."""
        return self.embed(inputs, lengths), self.embed.strided(lengths)

    def losses(
        self,
        inputs: Tensor,
        lengths: Tensor,
        targets: Tensor,
        weights: Tensor,
        *,
        state: Tensor | None = None,
        penalties: Penalties = NONE,
    ) -> tuple[Tensor, Tensor]:
        """The weighted sum this kind of output minimises, and the state after the inputs."""
        read, state = self._recur(inputs, lengths, state)
        return self.head.loss(read, targets, weights, penalties), state

    def forward_last(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs that a prediction needs, and the state at each row's last real step; padding is never read.

        QUANTILES (batch, quantiles), LABEL log-probabilities (batch, classes), LABELS emissions (batch, time,
        tags), NEXT_TOKEN logits (batch, vocabulary), ALIGNED log-probabilities (batch, steps, labels).
        """
        embedded, lengths = self.recurrent_inputs(inputs, lengths)  # (batch, steps, width)
        states, state = self.recurrent.forward_ragged(embedded, lengths, state)
        return self.head.predict(HeadInput(states, embedded, lengths, inputs)), state

    def predict(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The outputs of `forward_last` from a state of zeros, without packing: faster on padded batches."""
        read, _ = self._recur(inputs, lengths, None)
        return self.head.predict(read)

    def token_nll(self, inputs: Tensor, targets: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of each target token in nats (batch, time), and the state after them."""
        outputs, state = self(inputs, state)
        return token_losses(unhalved(outputs), targets), state

    def transitions(self) -> Tensor | None:
        """The transition scores of a LABELS head with a CRF (tags + 2, tags); None without one."""
        head = self.head
        return head.chain() if isinstance(head, LabelsHead) and head.chain is not None else None

    def initial_state(self, batch: int) -> Tensor:
        """The state before the first step, (state_rows, batch, hidden)."""
        return self.recurrent.initial_state(batch)

    def count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flatten(self) -> None:
        """Lay the recurrent weights out as one block, as cuDNN wants them after loading or copying."""
        self.recurrent.flatten()
