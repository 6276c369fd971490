"""What a classification job and a request for one can choose, and what suits them."""

from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem, pointer
from app.tasks.classification.reading import TEXT
from app.tasks.shared import tokenizers
from app.typedefs import Json

VOCABULARY = {"word": 20_000, "bpe": 8_000, "character": 2_000}
LENGTH = {"word": 400, "bpe": 500, "character": 2_000}
LETTERS = 12  # characters of a word
LONGEST = 1 << 16  # characters of a request's text that are sent at most

# What a job gets that names nothing: much dropout and few epochs, as little text overfits at once.
TEXTS: tuple[Json, Json] = (
    {
        "cell": "lstm",
        "layers": 1,
        "hidden_size": 128,
        "bidirectional": True,
        "dropout": 0.5,
        "input_dropout": 0.5,
        "variational_dropout": True,
        "weight_drop": 0.0,
        "embedding_size": 100,
        "word_dropout": 0.3,
        "pooling": "max",
    },
    {
        "epochs": 5,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "clip_norm": 1.0,
        "patience": 5,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "label_smoothing": 0.0,
        "pretrain_epochs": 0,
    },
)
CHARACTERS: Json = {"characters": "none", "character_size": 30}  # where they are given to the network
READINGS: tuple[Json, Json] = (
    {
        "cell": "gru",
        "layers": 1,
        "hidden_size": 64,
        "bidirectional": True,
        "dropout": 0.5,
        "input_dropout": 0.1,
        "variational_dropout": True,
        "weight_drop": 0.0,
        "pooling": "concat",
    },
    {
        "epochs": 40,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "clip_norm": 1.0,
        "patience": 15,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "label_smoothing": 0.0,
    },
)
SEEN = 40_000  # examples in all epochs together that are enough, where examples are many


class Options(BaseModel):
    """What a classification job can choose; the options of tokens count for texts only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    tokens: Annotated[
        Literal["word", "bpe", "character"], Field(description="What the network reads one after the other.")
    ] = "word"
    vocabulary_size: Annotated[
        int | None,
        Field(ge=8, le=1 << 17, description="Most tokens; null: 20000 words, 8000 for bpe, 2000 characters."),
    ] = None
    min_count: Annotated[
        int, Field(ge=1, le=1_000_000, description="How often a token must occur in training to be known.")
    ] = 2
    lower: Annotated[bool, Field(description="Read texts in lower case.")] = True
    max_length: Annotated[
        int | None,
        Field(
            ge=1,
            le=100_000,
            description="Tokens of a text, or steps of a sequence, that are read; the rest is left out. "
            "null: 400 words, 500 for bpe, 2000 characters, all steps.",
        ),
    ] = None
    word_length: Annotated[
        int | None,
        Field(
            ge=0,
            le=64,
            description="Characters of a word, from both its ends, that a network with `characters` reads "
            "beside it; 0: none can be read. null: 12 of words, none of other tokens.",
        ),
    ] = None
    class_weights: Annotated[
        Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0, le=1e6)]],
        Field(
            description="How much an example counts in training: balanced, so that every label counts the "
            "same in all; or a weight by label, 1 for those not named."
        ),
    ] = "none"
    calibrate: Annotated[
        bool,
        Field(description="Find a temperature on the validation split that makes probabilities honest."),
    ] = True

    @property
    def size(self) -> int:
        """Most tokens of the vocabulary."""
        return self.vocabulary_size or VOCABULARY[self.tokens]

    @property
    def letters(self) -> int:
        """Characters of a word that are given to the network."""
        usual = LETTERS if self.tokens == "word" else 0
        return usual if self.word_length is None else self.word_length

    def longest(self, kind: str) -> int | None:
        """Tokens or steps that are read; None = all."""
        return self.max_length or (LENGTH[self.tokens] if kind == TEXT else None)


class Instance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A text, or readings (time, channels): what the model was trained on."""

    text: Annotated[str, msgspec.Meta(max_length=LONGEST)] | None = None
    values: list[list[float]] | None = None


class Parameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How many labels to tell, the likeliest first; all of them by default."""

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None


def check_options(summary: Json, options: Options) -> list[Problem]:
    """What is wrong with the options for a data set with this summary."""
    problems = tokenizers.too_small(options.tokens, options.size) if summary["kind"] == TEXT else []
    if options.tokens != "word" and options.word_length:
        problems.append(Problem("/options/word_length", f"the tokens are no words, but {options.tokens}"))
    if isinstance(options.class_weights, dict):
        listed = len(summary["labels"]) == summary["classes"]
        problems += [
            Problem(pointer("options", "class_weights", label), "no example has this label")
            for label in options.class_weights
            if listed and label not in summary["labels"]
        ]
    return problems


def defaults(summary: Json, options: Options) -> tuple[Json, Json]:
    """The network and the training that suit a kind of data; characters where the network gets any."""
    if summary["kind"] != TEXT:
        return READINGS
    network, training = TEXTS
    network = network | (CHARACTERS if options.letters else {})
    enough = max(2, round(SEEN / max(summary["examples"], 1)))
    return network, training | {"epochs": min(max(enough, training["epochs"]), 20)}
