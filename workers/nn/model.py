"""A network that answers in one go: an input layer, a recurrent stack, a head."""

from torch import Tensor, nn

from app.tasks.contract import Output
from workers.nn.cells import Recurrent
from workers.nn.config import ModelConfig
from workers.nn.heads import HEADS, Head, Labels, Next, Read
from workers.nn.inputs import INPUTS, Tokens
from workers.nn.losses import NONE, Penalties, token_losses


class SequenceModel(nn.Module):
    """Outputs at every position or of the whole sequence, and a state from which the next call goes on."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = INPUTS[config.input](config)
        self.recurrent = Recurrent(
            config.cell,
            self.embed.width,
            config.hidden_size,
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
            variational=config.variational_dropout,
            weight_drop=config.weight_drop,
        )
        states = config.hidden_size * self.recurrent.directions
        self.head: Head = HEADS[config.output](config, states, self.embed.width)
        if config.tie_weights and isinstance(self.head, Next) and isinstance(self.embed, Tokens):
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
    def steps(self) -> bool:
        """Whether every step has a loss of its own, so that a sequence can be learned in parts."""
        return self.config.output in (Output.QUANTILES, Output.NEXT)

    @property
    def paths(self) -> bool:
        """Whether the steps of a row have one loss together, the likelihood of them all."""
        return self.config.output == Output.LABELS and self.config.crf

    def forward(
        self, inputs: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Inputs (batch, time, features) to outputs (batch, time, width) or (batch, width), and the state."""
        read, state = self._read(inputs, lengths, state)
        return self.head(read), state

    def _read(self, inputs: Tensor, lengths: Tensor | None, state: Tensor | None) -> tuple[Read, Tensor]:
        if lengths is None:
            lengths = inputs.new_full((len(inputs),), inputs.shape[1]).long()
        embedded = self.embed(inputs)  # (batch, time, width)
        state = self.initial(len(inputs)) if state is None else state
        states, state = self.recurrent(embedded, state, lengths)
        return Read(states, embedded, lengths), state

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
        read, state = self._read(inputs, lengths, state)
        return self.head.loss(read, targets, weights, penalties), state

    def at_end(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """What a prediction needs, and the state at each row's last real step; padding is never read.

        QUANTILES (batch, quantiles), LABEL log-probabilities (batch, classes), LABELS emissions (batch, time,
        tags), NEXT logits of the token that follows (batch, vocabulary).
        """
        embedded = self.embed(inputs)
        states, state = self.recurrent.forward_ragged(embedded, lengths, state)
        return self.head.answer(Read(states, embedded, lengths)), state

    def answers(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The outputs of `at_end` from a state of zeros, without packing: faster on padded batches."""
        read, _ = self._read(inputs, lengths, None)
        return self.head.answer(read)

    def surprise(self, inputs: Tensor, targets: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of each target of a NEXT head in nats (batch, time), and the state."""
        outputs, state = self(inputs, state)
        return token_losses(outputs.float(), targets), state

    def transitions(self) -> Tensor | None:
        """Of a LABELS head with a chain: see `Chain`."""
        head = self.head
        return head.chain() if isinstance(head, Labels) and head.chain is not None else None

    def initial(self, batch: int) -> Tensor:
        """The state before the first step, (state_rows, batch, hidden)."""
        return self.recurrent.initial(batch)

    def count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flatten(self) -> None:
        """Lay the recurrent weights out as one block, as cuDNN wants them after loading or copying."""
        self.recurrent.flatten()
