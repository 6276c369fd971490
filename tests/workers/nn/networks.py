"""Small networks of every kind of output, with random weights in every layer, and batches to try them on."""

from typing import Any

import torch
from torch import Tensor, nn

from app.tasks.contract import BEGIN, END, Input, Output
from workers.nn import Member, ModelConfig
from workers.outputs import build

WORDS: dict[str, Any] = {
    "input": Input.TOKENS,
    "features": 7,
    "vocabularies": (30, 9),
    "word_length": 5,
    "character_vocabulary": 12,
    "characters": "cnn",
    "character_size": 6,
    "embedding_size": 8,
}
PLAIN: dict[str, Any] = {"input": Input.TOKENS, "features": 1, "vocabularies": (30,), "embedding_size": 8}
VECTORS: dict[str, Any] = {"input": Input.VECTORS, "features": 3}
IMAGES: dict[str, Any] = {
    "input": Input.CLIPS,
    "features": 2 * 9 * 7,
    "channels": 2,
    "height": 9,
    "width": 7,
    "filters": (4, 16),
    "differences": True,
    "embedding_size": 16,
}
LABEL: dict[str, Any] = {"output": Output.LABEL, "outputs": 3}
LABELS: dict[str, Any] = {**WORDS, "output": Output.LABELS, "outputs": 5, "bidirectional": True}
NEXT: dict[str, Any] = {**PLAIN, "output": Output.NEXT_TOKEN, "outputs": 30}
SEQUENCE: dict[str, Any] = {**PLAIN, "output": Output.SEQUENCE, "outputs": 20}
KINDS: dict[str, dict[str, Any]] = {
    "quantiles": {**VECTORS, "output": Output.QUANTILES, "outputs": 4, "quantiles": (0.1, 0.5)},
    "label of vectors": {**VECTORS, **LABEL},
    "label of words": {**WORDS, **LABEL, "bidirectional": True, "pooling": "attention"},
    "label of words and pairs": {**WORDS, **LABEL, "bidirectional": True, "pair_rows": 64},
    "label of clips": {**IMAGES, **LABEL, "pooling": "mean"},
    "labels": {**LABELS, "characters": "rnn"},
    "labels in a chain": {**LABELS, "crf": True, "forbidden": ((0, 2), (5, 1), (3, 5))},
    "next": NEXT,
    "next, tied": {**NEXT, "tie_weights": True},
    "sequence": {**SEQUENCE, "bidirectional": True, "tie_weights": True},
    "sequence, additive": {**SEQUENCE, "attention": "additive"},
    "sequence, dot": {**SEQUENCE, "bidirectional": True, "attention": "dot"},
}


def config(kind: str, cell: str = "lstm", **changes: Any) -> ModelConfig:
    """One of the kinds."""
    return ModelConfig(**{"cell": cell, "layers": 1, "hidden_size": 10, **KINDS[kind], **changes})


def network(kind: str, cell: str = "lstm", seed: int = 1, **changes: Any) -> Member:
    """With random weights: a fresh network may answer zero, whatever it reads."""
    model = build(config(kind, cell, **changes), seed)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        ngrams = [value for name, value in model.named_buffers() if ".ngrams." in name]
        for weight in [*model.parameters(), *ngrams]:
            weight.copy_(nn.init.normal_(torch.empty_like(weight), 0, 0.4, generator=source))
    return model.eval()


def examples(config: ModelConfig, lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, lengths, targets and weights as `losses` wants them; inputs without structure."""
    source = torch.Generator().manual_seed(seed)
    rows, time = len(lengths), max(lengths)
    steps = torch.tensor(lengths)
    real = torch.arange(time)[None] < steps[:, None]  # (batch, time)
    if config.input == Input.TOKENS:
        sizes = [*config.vocabularies, *[config.character_vocabulary] * config.word_length]
        columns = [torch.randint(1, size, (rows, time), generator=source) for size in sizes]
        inputs = torch.stack(columns, dim=-1) * real[:, :, None]
    elif config.input == Input.CLIPS:
        pixels = torch.randint(256, (rows, time, config.features), generator=source)
        inputs = (pixels * real[:, :, None]).to(torch.uint8)
    else:
        inputs = torch.randn(rows, time, config.features, generator=source) * real[:, :, None]
    match config.output:
        case Output.QUANTILES:
            targets = torch.randn(rows, time, config.outputs // len(config.quantiles), generator=source)
            return inputs, steps, targets, real[:, :, None].expand_as(targets).float()
        case Output.LABEL:
            return inputs, steps, torch.randint(config.outputs, (rows,), generator=source), torch.ones(rows)
        case Output.SEQUENCE:
            wanted = torch.randint(4, config.outputs, (rows, time + 2), generator=source)
            wanted[:, 0], wanted[:, -1] = BEGIN, END
            weights = torch.ones(wanted.shape)
            weights[:, 0] = 0
            return inputs, steps, wanted, weights
        case _:
            wanted = torch.randint(config.outputs, (rows, time), generator=source)
            wanted = 4 * (wanted % 2) if config.crf else wanted  # which no chain here forbids
            return inputs, steps, wanted, real.float()
