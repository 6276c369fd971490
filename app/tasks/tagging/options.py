"""What a tagging job can choose, whether a data set allows it, and what suits it."""

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem
from app.tasks.tagging.reading import LONGEST
from app.tasks.tagging.tag_schemes import PLAIN
from app.typedefs import Json

MANY_WORDS = 20_000  # distinct ones: with more of them those seen once are not worth a vector each
READ = 5_000_000  # tokens that are read in all epochs together
EPOCHS = (4, 14)
LARGE = 200_000  # tokens

NETWORK: Json = {
    "cell": "lstm",
    "layers": 1,
    "hidden_size": 128,
    "bidirectional": True,
    "variational_dropout": True,
    "weight_drop": 0.0,
    "word_dropout": 0.1,
    "embedding_size": 100,
    "characters": "cnn",
    "character_size": 90,
}
TRAINING: Json = {
    "clip_norm": 5.0,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "pretrain_epochs": 0,
    "label_smoothing": 0.0,
}


class Options(BaseModel):
    """What a tagging job can choose."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    scheme: Annotated[
        Literal["auto", "bio", "bioes", "plain"],
        Field(
            description="How entities are learned; auto: as bioes where the tags tell entities, else plain. "
            "Answers are in the scheme of the file."
        ),
    ] = "auto"
    min_count: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000,
            description="How often a word must occur to be known; null: once, or twice of very many words.",
        ),
    ] = None
    vocabulary_size: Annotated[
        int, Field(ge=8, le=1 << 20, description="Most words that are known, the most frequent ones.")
    ] = 50_000
    lower: Annotated[
        bool, Field(description="Look words up in lower case; their shape and characters tell the case.")
    ] = True
    word_length: Annotated[
        int, Field(ge=2, le=64, description="Characters of a word that are read, from both ends if longer.")
    ] = 16
    rare_dropout: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="Training reads a word that it has n times as unknown so often: x of (x + n) times.",
        ),
    ] = 0.5
    max_length: Annotated[
        int,
        Field(
            ge=8,
            le=LONGEST,
            description="Tokens of the longest sentence to train on; longer ones are cut in pieces, not "
            f"within an entity. Requests of up to {LONGEST:,} tokens are read whole.",
        ),
    ] = 256


def vocabulary_of(options: Options, counts: npt.NDArray[Any]) -> Json:
    """How words are learned; `counts` (words,) is how often training has each."""
    least = options.min_count or 1 + int((counts > 0).sum() > MANY_WORDS)
    return {
        "least": least,
        "most": options.vocabulary_size,
        "lower": options.lower,
        "length": options.word_length,
    }


def check_options(summary: Json, options: Options) -> list[Problem]:
    """What is wrong with the options for a data set with this summary."""
    if summary["scheme"] == PLAIN and options.scheme not in ("auto", PLAIN):
        detail = f"The tags of this data set tell no entities, so they cannot be read as {options.scheme}."
        return [Problem("/options/scheme", detail)]
    return []


def tells_entities(summary: Json, options: Options) -> bool:
    """Whether entities are learned."""
    return bool(summary["scheme"] != PLAIN and options.scheme != PLAIN)


def network_defaults(summary: Json, options: Options) -> Json:
    """Entities are found by a chain of tags; of much text less is forgotten."""
    dropout = 0.5 if summary["train_tokens"] < LARGE else 0.3
    return NETWORK | {
        "dropout": dropout,
        "input_dropout": dropout,
        "crf": tells_entities(summary, options),
    }


def training_defaults(summary: Json, options: Options) -> Json:
    """Little text is read often; entities get better for long after their likelihood does not."""
    tokens = max(summary["train_tokens"], 1)
    epochs = int(np.clip(READ // tokens, *EPOCHS))
    small = tokens < LARGE
    return TRAINING | {
        "epochs": epochs,
        "batch_size": 16 if small else 32,
        "learning_rate": 3e-3,
        "patience": epochs,
        "selection": "last" if tells_entities(summary, options) else "best",
    }
