"""What a generation job can choose, whether a data set allows it, and what suits it."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem
from app.tasks.generation.reading import FEWEST
from app.tasks.shared import tokenizers
from app.typedefs import Json

LARGEST = 1 << 16  # tokens
VOCABULARY = {"character": 8192, "bpe": 4000, "word": 10_000}
CHARACTERS_A_PIECE = 2_000  # of the training text, for each token of bpe: rarer ones are hardly learned
MIN_COUNT = 2  # so that training meets unknown tokens too

# What a job gets that names nothing, by unit; epochs and batch depend on how much text there is.
SHARED_NETWORK: Json = {
    "cell": "lstm",
    "layers": 1,
    "hidden_size": 384,
    "bidirectional": False,
    "variational_dropout": True,
    "weight_drop": 0.0,
    "word_dropout": 0.0,
}
NETWORKS: dict[str, Json] = {
    "character": {"embedding_size": 64, "dropout": 0.0, "input_dropout": 0.0, "tie_weights": False},
    "bpe": {"embedding_size": 256, "dropout": 0.3, "input_dropout": 0.1, "tie_weights": True},
    "word": {"embedding_size": 256, "dropout": 0.4, "input_dropout": 0.2, "tie_weights": True},
}
TRAINING: Json = {
    "learning_rate": 7e-3,
    "clip_norm": 1.0,
    "patience": 3,
    "bptt_steps": 64,
    "autocast": True,
    "activation_regularization": 0.0,
    "temporal_regularization": 0.0,
}
BPTT_STEPS = 64
WHOLE = 20_000_000  # characters that are read in all epochs together
EPOCHS = (4, 60)
BATCH = (8, 16)
CHARACTERS_A_ROW = 15_000  # of each stream that a batch reads side by side


class Options(BaseModel):
    """What a generation job can choose."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    tokens: Annotated[
        Literal["character", "bpe", "word"],
        Field(description="What the network reads and writes one after the other."),
    ] = "bpe"
    vocabulary_size: Annotated[
        int | None,
        Field(
            ge=8,
            le=LARGEST,
            description="Most tokens; null: 8192 characters, 10000 words, for bpe 300 to 4000 by the amount "
            "of text.",
        ),
    ] = None
    min_count: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, description="How often a token must occur to be known; null: twice."),
    ] = None

    def size(self, characters: int) -> int:
        """Most tokens of a text to train on that has so many characters."""
        most = VOCABULARY[self.tokens]
        if self.tokens == "bpe":
            most = int(np.clip(characters // CHARACTERS_A_PIECE, tokenizers.LEAST_BYTES, most))
        return self.vocabulary_size or most

    @property
    def least(self) -> int:
        """How often a token must occur."""
        return self.min_count or MIN_COUNT


def check_options(summary: Json, options: Options) -> list[Problem]:
    """What is wrong with the options for a data set with this summary."""
    problems = []
    if summary["train_characters"] < FEWEST:
        few = f"The data set has {summary['train_characters']:,} characters to train on"
        problems.append(Problem("/dataset", f"{few}; at least {FEWEST:,} are needed."))
    problems += tokenizers.too_small(options.tokens, options.vocabulary_size or LARGEST)
    return problems


def network_defaults(options: Options) -> Json:
    """The network that suits a unit."""
    return SHARED_NETWORK | NETWORKS[options.tokens]


def training_defaults(summary: Json) -> Json:
    """Little text is read often, in few streams; much text seldom."""
    characters = max(summary["train_characters"], 1)
    return TRAINING | {
        "epochs": int(np.clip(WHOLE // characters, *EPOCHS)),
        "batch_size": int(np.clip(characters // CHARACTERS_A_ROW, *BATCH)),
    }
