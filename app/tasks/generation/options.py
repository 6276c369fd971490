"""Options of a generation job, their check against a data set, and the defaults of a job."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem
from app.tasks.contract import Prediction
from app.tasks.generation.reading import MIN_TRAIN_CHARS
from app.tasks.shared import tokenizers
from app.tasks.workload import (
    MIN_VOCABULARY,
    MOST_TOKEN_CHARS,
    TRAIN_SHARE,
    Workload,
    common_words,
    stream_workload,
)
from app.typedefs import Json

MAX_VOCABULARY_SIZE = 1 << 16
DEFAULT_VOCABULARY_SIZES = {"character": 8192, "bpe": 4000, "word": 10_000}
CHARS_PER_BPE_TOKEN = 2_000  # of the training text, for each token of bpe: rarer ones are hardly learned
DEFAULT_MIN_COUNT = 2  # so that training has unknown tokens too

# The network of a job that sets nothing, by unit; epochs and batch size depend on how much text there is.
SHARED_NETWORK_DEFAULTS: Json = {
    "cell": "lstm",
    "layers": 1,
    "hidden_size": 384,
    "bidirectional": False,
    "variational_dropout": True,
    "weight_drop": 0.0,
    "word_dropout": 0.0,
}
NETWORK_DEFAULTS: dict[str, Json] = {
    "character": {"embedding_size": 64, "dropout": 0.0, "input_dropout": 0.0, "tie_weights": False},
    "bpe": {"embedding_size": 256, "dropout": 0.3, "input_dropout": 0.1, "tie_weights": True},
    "word": {"embedding_size": 256, "dropout": 0.4, "input_dropout": 0.2, "tie_weights": True},
}
DEFAULT_BPTT_STEPS = 64
TRAINING_DEFAULTS: Json = {
    "learning_rate": 7e-3,
    "clip_norm": 1.0,
    "patience": 3,
    "bptt_steps": DEFAULT_BPTT_STEPS,
    "autocast": True,
    "activation_regularization": 0.0,
    "temporal_regularization": 0.0,
}
ENOUGH_CHARS = 20_000_000  # that are read in all epochs together
EPOCHS_RANGE = (4, 60)
BATCH_SIZE_RANGE = (8, 16)
CHARS_PER_STREAM = 15_000  # of each stream that a batch reads side by side


class GenerationOptions(BaseModel):
    """Options of a generation job."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    tokens: Annotated[
        Literal["character", "bpe", "word"],
        Field(description="The unit that the network reads and writes at each step."),
    ] = "bpe"
    vocabulary_size: Annotated[
        int | None,
        Field(
            ge=8,
            le=MAX_VOCABULARY_SIZE,
            description="Maximum number of tokens; null: 8192 characters, 10000 words, for bpe 300 to 4000 "
            "by the amount of text.",
        ),
    ] = None
    min_count: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, description="How often a token must occur to be known; null: twice."),
    ] = None

    def max_vocabulary(self, characters: int) -> int:
        """The maximum number of tokens for a training text of this many characters."""
        default = DEFAULT_VOCABULARY_SIZES[self.tokens]
        if self.tokens == "bpe":
            default = int(np.clip(characters // CHARS_PER_BPE_TOKEN, tokenizers.MIN_BPE_TOKENS, default))
        return self.vocabulary_size or default

    @property
    def min_token_count(self) -> int:
        """How often a token must occur in training to be known."""
        return self.min_count or DEFAULT_MIN_COUNT


class GenerationPrediction(Prediction):
    """The continuation of a prompt, why it ended (`stop` or `length`), and its number of tokens."""

    text: str
    finish_reason: str
    tokens: int


EXAMPLE_INSTANCE: Json = {"prompt": "Once upon a time"}
EXAMPLE_PREDICTION: Json = {
    "text": " there was a king who had three sons.",
    "finish_reason": "length",
    "tokens": 9,
}


def check_options(summary: Json, options: GenerationOptions) -> list[Problem]:
    """The problems of these options for a data set with this summary; none if a job may have them."""
    problems = []
    if summary["train_characters"] < MIN_TRAIN_CHARS:
        few = f"The data set has {summary['train_characters']:,} characters to train on"
        problems.append(Problem("/dataset", f"{few}; at least {MIN_TRAIN_CHARS:,} are needed."))
    size = options.vocabulary_size or MAX_VOCABULARY_SIZE
    return problems + tokenizers.vocabulary_problems(options.tokens, size)


def network_defaults(options: GenerationOptions) -> Json:
    """The default network for a unit."""
    return SHARED_NETWORK_DEFAULTS | NETWORK_DEFAULTS[options.tokens]


def training_defaults(summary: Json) -> Json:
    """The default training: little text is read often, in few streams; much text seldom."""
    characters = max(summary["train_characters"], 1)
    return TRAINING_DEFAULTS | {
        "epochs": int(np.clip(ENOUGH_CHARS // characters, *EPOCHS_RANGE)),
        "batch_size": int(np.clip(characters // CHARS_PER_STREAM, *BATCH_SIZE_RANGE)),
    }


def workload(summary: Json, options: GenerationOptions, network: Json, training: Json) -> Workload:
    """The size of a training, by its text: one stream that is cut in pieces."""
    characters = int(TRAIN_SHARE * summary["train_characters"])
    tokens = max(1, characters // MOST_TOKEN_CHARS[options.tokens])
    words = common_words(tokens, options.max_vocabulary(characters))
    size = {"character": MIN_VOCABULARY, "bpe": MIN_VOCABULARY, "word": words}[options.tokens]
    return stream_workload(tokens, network, training, size, vocabulary=size)
