"""Input layers: what turns steps of input into the vectors that the recurrent stack reads.

Each takes inputs (batch, time, features) and lengths (batch,) and gives (batch, steps, width). Only
`FramesInput` changes the number of steps; `strided` gives the lengths after the layer.
"""

import torch
from torch import Tensor, nn

from app.tasks.contract import PADDING
from workers.nn.clips import ClipsInput
from workers.nn.config import ModelConfig
from workers.nn.recurrent.cells import real
from workers.nn.recurrent.dropout import Dropout, drop_words

CHARACTER = 25  # width of a character's own vector
WIDTHS = (2, 3, 4)  # characters that a convolution sees at once
MOST = 48  # width of a further column's vector


class VectorsInput(nn.Module):
    """Steps that are vectors already: passed on as they are."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.width = config.features
        self.dropout = Dropout(config.input_dropout, variational=config.variational_dropout)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, features) to (batch, time, width)."""
        del lengths
        dropped: Tensor = self.dropout(inputs)
        return dropped

    def strided(self, lengths: Tensor) -> Tensor:
        """Lengths (batch,) after this layer: the same."""
        return lengths


class FramesInput(nn.Module):
    """Vectors at a high rate, read by a convolution that moves `stride` of them at a time.

    The front of a speech network (Amodei et al. 2016, "Deep Speech 2", section 3.5): the recurrent stack has
    that many fewer steps. Window t covers inputs `t * stride` to `t * stride + kernel - 1`; those behind a
    row's end are zeros, whatever lies there.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.width, self.stride, self.kernel = config.embedding_size, config.stride, config.kernel
        self.windows = nn.Conv1d(config.features, self.width, self.kernel, stride=self.stride)
        self.dropout = Dropout(config.input_dropout, variational=config.variational_dropout)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, features) to (batch, ceil(time / stride), width)."""
        known = torch.where(real(lengths, inputs.shape[1])[:, :, None], inputs, 0.0)
        padded = nn.functional.pad(known.transpose(1, 2), (0, self.kernel - 1))  # (batch, features, time')
        windows = torch.relu(self.windows(padded)).transpose(1, 2)  # (batch, steps, width)
        dropped: Tensor = self.dropout(windows)
        return dropped

    def strided(self, lengths: Tensor) -> Tensor:
        """Lengths (batch,) after this layer: `ceil(lengths / stride)`."""
        return (lengths + self.stride - 1) // self.stride


class TokensInput(nn.Module):
    """Token numbers as vectors: an embedding for each column, and what is read from a word's characters."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first, *others = config.vocabularies
        sizes = [config.embedding_size, *(column_size(size) for size in others)]
        self.tables = nn.ModuleList(map(table, (first, *others), sizes))
        reads = config.characters != "none" and config.word_length > 0
        self.characters = CHARACTERS[config.characters](config) if reads else None
        self.width = sum(sizes) + (config.character_size if reads else 0)
        self.word_dropout = config.word_dropout
        self.dropout = Dropout(config.input_dropout, variational=config.variational_dropout)

    @property
    def vectors(self) -> Tensor:
        """Of the tokens themselves, (vocabulary, embedding_size)."""
        weight: Tensor = self.tables[0].weight  # type: ignore[assignment]
        return weight

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, columns) int64 to (batch, time, width)."""
        del lengths
        columns = inputs[..., : len(self.tables)].unbind(-1)  # each (batch, time)
        parts = [embed(column) for embed, column in zip(self.tables, columns, strict=True)]
        if self.training and self.word_dropout:
            parts[0] = drop_words(parts[0], self.word_dropout)
        if self.characters is not None:
            parts.append(self.characters(inputs[..., len(self.tables) :]))
        dropped: Tensor = self.dropout(torch.cat(parts, dim=-1))
        return dropped

    def strided(self, lengths: Tensor) -> Tensor:
        """Lengths (batch,) after this layer: the same."""
        return lengths


def table(size: int, width: int) -> nn.Embedding:
    """Vectors that are zero for padding and small for everything else."""
    made = nn.Embedding(size, width, padding_idx=PADDING)
    nn.init.normal_(made.weight, std=0.1)
    with torch.no_grad():
        made.weight[PADDING].zero_()
    return made


def column_size(size: int) -> int:
    """Width of the vectors for a vocabulary of that size."""
    width: int = round(1.6 * float(size) ** 0.56)
    return min(MOST, width)


class CharCNN(nn.Module):
    """Windows of characters, the strongest of each kind (Ma & Hovy 2016; several widths: Kim et al. 2016)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed = table(config.character_vocabulary, CHARACTER)
        share, more = divmod(config.character_size, len(WIDTHS))
        sizes = [share + (place < more) for place in range(len(WIDTHS))]
        self.windows = nn.ModuleList(
            nn.Conv1d(CHARACTER, size, width, padding=width - 1)
            for size, width in zip(sizes, WIDTHS, strict=True)
            if size
        )

    def forward(self, characters: Tensor) -> Tensor:
        """(batch, time, word length) to (batch, time, character_size)."""
        batch, time, length = characters.shape
        words = self.embed(characters).view(batch * time, length, -1)  # (words, length, character)
        letters = words.transpose(1, 2)  # (words, character, length)
        strongest = [windows(letters).amax(dim=2) for windows in self.windows]  # each (words, size)
        return torch.relu(torch.cat(strongest, dim=-1)).view(batch, time, -1)


class CharRNN(nn.Module):
    """A word read from either end, what is known at the other (Lample et al. 2016)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed = table(config.character_vocabulary, CHARACTER)
        half = -(-config.character_size // 2)
        self.forwards = nn.LSTM(CHARACTER, half, batch_first=True)
        self.backwards = nn.LSTM(CHARACTER, config.character_size - half or 1, batch_first=True)
        self.width = config.character_size

    def forward(self, characters: Tensor) -> Tensor:
        """(batch, time, word length) to (batch, time, character_size)."""
        batch, time, length = characters.shape
        words = self.embed(characters).view(batch * time, length, -1)  # (words, length, character)
        sizes = (characters != PADDING).sum(dim=2).view(-1).clamp(min=1)  # (words,)
        ahead, _ = self.forwards(words)
        back, _ = self.backwards(words.flip(1))  # padding is read first, as zeros
        last = (sizes - 1).view(-1, 1, 1).expand(-1, 1, ahead.shape[2])
        ends = torch.cat([ahead.gather(1, last).squeeze(1), back[:, -1]], dim=-1)  # (words, width)
        return ends[:, : self.width].view(batch, time, self.width)


CHARACTERS: dict[str, type[CharCNN | CharRNN]] = {"cnn": CharCNN, "rnn": CharRNN}
InputLayer = TokensInput | VectorsInput | FramesInput | ClipsInput
