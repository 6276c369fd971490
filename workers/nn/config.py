"""How a network is built: JSON in a manifest."""

from dataclasses import asdict, dataclass
from typing import Any

from app.tasks.contract import Input, Output


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build the network again; every field is JSON."""

    input: Input
    output: Output
    features: int  # width of an input step: numbers of a vector, or columns of a token
    outputs: int  # width of the head
    cell: str = "lstm"  # of `workers.nn.recurrent.cells.CELLS`; none: no recurrence, each step alone
    layers: int = 1
    hidden_size: int = 64
    bidirectional: bool = False
    dropout: float = 0.0  # between layers and before the head
    input_dropout: float = 0.0  # of the embedded inputs
    variational_dropout: bool = False  # one mask for all steps of a sequence
    weight_drop: float = 0.0  # of the recurrent weights
    layer_norm: bool = False  # of what each layer reads, and of the last one's states
    memory_steps: int = 0  # that half of an LSTM's or GRU's units remember at first; 0: all only a few
    quantiles: tuple[float, ...] = ()  # of a QUANTILES head
    vocabularies: tuple[int, ...] = ()  # sizes, one for each column of token numbers
    embedding_size: int = 100  # of the first column
    word_dropout: float = 0.0  # share of words whose vector is zero in training
    word_length: int = 0  # columns that hold a word's characters
    character_vocabulary: int = 0
    characters: str = "none"  # what reads them: cnn, rnn, or nothing
    character_size: int = 30  # what characters add to a word's vector
    pooling: str = "concat"  # of a LABEL head
    pair_rows: int = 0  # of a LABEL head's table of token pairs; 0: it adds no scores of tokens and pairs
    crf: bool = False  # of a LABELS head
    forbidden: tuple[tuple[int, int], ...] = ()  # transitions between its tags
    tie_weights: bool = False  # the embedding is the softmax's matrix, transposed
    attention: str = "general"  # of a SEQUENCE decoder
    alignment: float = 0.0  # source tokens for each target token, where places are expected to agree
    lexicon: int = 0  # translations that a dictionary has of a source token
    stride: int = 1  # of FRAMES: input steps from one window of the convolution to the next
    kernel: int = 1  # of FRAMES: input steps that a window covers
    window: int = 0  # of FRAMES: steps that training reads at once, on average; 0: whole sequences
    channels: int = 1  # of CLIPS: colors of an image, and its size
    height: int = 1  # pixels
    width: int = 1  # pixels
    filters: tuple[int, ...] = (8, 16, 32, 64)  # of CLIPS: channels after each convolution
    differences: bool = False  # of CLIPS: an image is read with its difference to the one before it
    members: int = 1  # networks whose outputs are averaged

    def to_json(self) -> dict[str, Any]:
        """As JSON for the manifest."""
        return asdict(self) | {
            "quantiles": list(self.quantiles),
            "vocabularies": list(self.vocabularies),
            "forbidden": [list(pair) for pair in self.forbidden],
            "filters": list(self.filters),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "ModelConfig":
        """The inverse of `to_json`; raises `TypeError` on an unknown field."""
        kinds: dict[str, Any] = {"input": Input(fields["input"]), "output": Output(fields["output"])}
        for name in ("quantiles", "vocabularies", "filters"):
            if name in fields:
                kinds[name] = tuple(fields[name])
        if "forbidden" in fields:
            kinds["forbidden"] = tuple((source, to) for source, to in fields["forbidden"])
        return cls(**fields | kinds)
