"""What turns one step of input into a vector: a table by kind of input."""

import torch
from torch import Tensor, nn

from app.tasks.contract import PADDING, Input
from workers.nn.config import ModelConfig
from workers.nn.dropout import Dropout, drop_words

CHARACTER = 25  # width of a character's own vector
WIDTHS = (2, 3, 4)  # characters that a convolution sees at once
MOST = 48  # width of a further column's vector


class Vectors(nn.Module):
    """Steps that are vectors already: passed on as they are."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.width = config.features
        self.dropout = Dropout(config.input_dropout, variational=config.variational_dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, time, features) to (batch, time, width)."""
        dropped: Tensor = self.dropout(inputs)
        return dropped


class Tokens(nn.Module):
    """Token numbers as vectors: one table for each column, and what is read from a word's characters."""

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
        found: Tensor = self.tables[0].weight  # type: ignore[assignment]
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, time, columns) int64 to (batch, time, width)."""
        columns = inputs[..., : len(self.tables)].unbind(-1)  # each (batch, time)
        parts = [embed(column) for embed, column in zip(self.tables, columns, strict=True)]
        if self.training and self.word_dropout:
            parts[0] = drop_words(parts[0], self.word_dropout)
        if self.characters is not None:
            parts.append(self.characters(inputs[..., len(self.tables) :]))
        dropped: Tensor = self.dropout(torch.cat(parts, dim=-1))
        return dropped


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


class Convolution(nn.Module):
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
        found = [windows(letters).amax(dim=2) for windows in self.windows]  # each (words, size)
        return torch.relu(torch.cat(found, dim=-1)).view(batch, time, -1)


class BothEnds(nn.Module):
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


CHARACTERS: dict[str, type[Convolution | BothEnds]] = {"cnn": Convolution, "rnn": BothEnds}
INPUTS: dict[Input, type[Vectors | Tokens]] = {Input.VECTORS: Vectors, Input.TOKENS: Tokens}
