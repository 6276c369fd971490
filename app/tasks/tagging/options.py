"""The options of a tagging job, whether a data set allows them, and the defaults that suit it."""

from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem, pointer
from app.tasks.contract import Prediction
from app.tasks.tagging.reading import MAX_SENTENCE_TOKENS
from app.tasks.tagging.tag_schemes import PLAIN
from app.tasks.workload import TRAIN_SHARE, Workload
from app.typedefs import Json

MANY_DISTINCT_WORDS = 20_000  # with more of them, words that occur once are not worth a vector each
TOTAL_TRAIN_TOKENS = 5_000_000  # read in all epochs together
MIN_EPOCHS, MAX_EPOCHS = 4, 14
LARGE_DATASET_TOKENS = 200_000

NETWORK_DEFAULTS: Json = {
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
TRAINING_DEFAULTS: Json = {
    "clip_norm": 5.0,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "pretrain_epochs": 0,
    "label_smoothing": 0.0,
}


class TaggingOptions(BaseModel):
    """The options of a tagging job."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    scheme: Annotated[
        Literal["auto", "bio", "bioes", "plain"],
        Field(
            description="How entities are learned; auto: as bioes where the tags mark entities, else plain. "
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
        bool, Field(description="Look words up in lower case; their shape and characters show the case.")
    ] = True
    word_length: Annotated[
        int, Field(ge=2, le=64, description="Characters of a word that are read, from both ends if longer.")
    ] = 16
    rare_dropout: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="Training reads a word that occurs n times as unknown with probability x / (x + n).",
        ),
    ] = 0.5
    max_length: Annotated[
        int,
        Field(
            ge=8,
            le=MAX_SENTENCE_TOKENS,
            description="Tokens of the longest sentence to train on; longer ones are cut in pieces, not "
            f"within an entity. Requests of up to {MAX_SENTENCE_TOKENS:,} tokens are read whole.",
        ),
    ] = 256


class TaggedEntity(TypedDict):
    """An entity: characters `start` to `end`, exclusive, of the text."""

    type: str
    text: str
    start: int
    end: int


class TaggingPrediction(Prediction):
    """The words of a text with a tag for each, and the entities that the tags mark."""

    tokens: list[str]
    tags: list[str]
    entities: list[TaggedEntity]


EXAMPLE_INSTANCE: Json = {"text": "Ada Lovelace was born in London."}
EXAMPLE_PREDICTION: Json = {
    "tokens": ["Ada", "Lovelace", "was", "born", "in", "London", "."],
    "tags": ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"],
    "entities": [
        {"type": "PER", "text": "Ada Lovelace", "start": 0, "end": 12},
        {"type": "LOC", "text": "London", "start": 25, "end": 31},
    ],
}


def vocabulary_settings(options: TaggingOptions, counts: npt.NDArray[Any]) -> Json:
    """The arguments of `learn_vocabulary`; `counts` (words,) is how often each word occurs in training."""
    min_count = options.min_count or 1 + int((counts > 0).sum() > MANY_DISTINCT_WORDS)
    return {
        "min_count": min_count,
        "max_words": options.vocabulary_size,
        "lower": options.lower,
        "max_chars": options.word_length,
    }


def check_options(summary: Json, options: TaggingOptions) -> list[Problem]:
    """Why these options do not suit a data set with this summary: a scheme of entities for plain tags."""
    if summary["scheme"] == PLAIN and options.scheme not in ("auto", PLAIN):
        detail = f"The tags of this data set mark no entities, so they cannot be read as {options.scheme}."
        return [Problem("/options/scheme", detail)]
    return []


def learns_entities(summary: Json, options: TaggingOptions) -> bool:
    """Whether entities are learned, rather than tags as they are."""
    return bool(summary["scheme"] != PLAIN and options.scheme != PLAIN)


def network_defaults(summary: Json, options: TaggingOptions) -> Json:
    """Defaults of the network: a CRF for entities, less dropout on large data sets."""
    dropout = 0.5 if summary["train_tokens"] < LARGE_DATASET_TOKENS else 0.3
    return NETWORK_DEFAULTS | {
        "dropout": dropout,
        "input_dropout": dropout,
        "crf": learns_entities(summary, options),
    }


def training_defaults(summary: Json, options: TaggingOptions) -> Json:
    """Defaults of training: more epochs on small data sets.

    The F1 of entities still rises long after their likelihood has stopped to: the last weights are kept.
    """
    tokens = max(summary["train_tokens"], 1)
    epochs = int(np.clip(TOTAL_TRAIN_TOKENS // tokens, MIN_EPOCHS, MAX_EPOCHS))
    is_small = tokens < LARGE_DATASET_TOKENS
    return TRAINING_DEFAULTS | {
        "epochs": epochs,
        "batch_size": 16 if is_small else 32,
        "learning_rate": 3e-3,
        "patience": epochs,
        "selection": "last" if learns_entities(summary, options) else "best",
    }


def workload(summary: Json, options: TaggingOptions, network: Json, training: Json) -> Workload:
    """The size of a training, by its sentences."""
    del training
    return Workload(
        examples=max(1, int(TRAIN_SHARE * summary["train_sentences"])),
        steps=max(1, min(int(summary["tokens_per_sentence"]["median"]), options.max_length)),
        steps_setting=pointer("options", "max_length"),
        inputs=network["embedding_size"],
        outputs=summary["distinct_tags"],
        stepwise=True,
    )
