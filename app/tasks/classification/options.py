"""Options of a classification job, instances and parameters of a request, and the defaults of a job."""

from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem, pointer
from app.tasks.shared import tokenizers
from app.tasks.shared.label_weights import Calibrate, ClassWeights, class_weight_problems
from app.tasks.shared.text_checks import TEXT
from app.tasks.workload import MOST_TOKEN_CHARS, Workload, trained_examples
from app.typedefs import Json

DEFAULT_VOCABULARY_SIZES = {"word": 20_000, "bpe": 8_000, "character": 2_000}
DEFAULT_MAX_LENGTHS = {"word": 400, "bpe": 500, "character": 2_000}
DEFAULT_WORD_LENGTH = 12  # characters
MAX_STEPS, MAX_CHANNELS = 100_000, 4_096  # of readings
MAX_REQUEST_CHARS = 1 << 16

# Network and training where a job sets none: much dropout and few epochs, as little text overfits at once.
TEXT_DEFAULTS: tuple[Json, Json] = (
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
CHARACTER_DEFAULTS: Json = {"characters": "none", "character_size": 30}  # for networks that get characters
READINGS_DEFAULTS: tuple[Json, Json] = (
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
ENOUGH_EXAMPLES = 40_000  # in all epochs together


class ClassificationOptions(BaseModel):
    """Options of a classification job; those of tokens apply to texts only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    tokens: Annotated[
        Literal["word", "bpe", "character"],
        Field(description="The unit that the network reads at each step."),
    ] = "word"
    vocabulary_size: Annotated[
        int | None,
        Field(
            ge=8,
            le=1 << 17,
            description="Largest number of tokens; null: 20000 words, 8000 for bpe, 2000 characters.",
        ),
    ] = None
    min_count: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000,
            description="How often a token must occur in training to be known; null: once with ngrams, else "
            "twice.",
        ),
    ] = None
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
            "beside the word; 0: none. null: 12 for words, none for other tokens.",
        ),
    ] = None
    ngrams: Annotated[
        bool,
        Field(
            description="Add the scores of a linear classifier over tokens and pairs of tokens to those of a "
            "network that reads texts, with a weight that the validation split decides and that may be 0."
        ),
    ] = True
    split_unspaced: Annotated[
        bool,
        Field(
            description="Read each character as a word in scripts without spaces between words, such as "
            "Chinese, Japanese and Thai; for tokens of the kind word."
        ),
    ] = True
    class_weights: ClassWeights = "none"
    calibrate: Calibrate = True

    @property
    def max_vocabulary(self) -> int:
        """The largest number of tokens of the vocabulary."""
        return self.vocabulary_size or DEFAULT_VOCABULARY_SIZES[self.tokens]

    @property
    def min_occurrences(self) -> int:
        """How often a token must occur in training to be known."""
        return self.min_count or (1 if self.ngrams else 2)

    @property
    def splits_unspaced(self) -> bool:
        """Whether each character of a script without spaces is a word.

        A job that was submitted before there was this option goes on without it: its network has another
        vocabulary.
        """
        return self.split_unspaced and not self.counts_only

    @property
    def counts_only(self) -> bool:
        """Whether n-grams are naive Bayes alone, as in a job that was submitted before they were more."""
        return "split_unspaced" not in self.model_fields_set

    @property
    def characters_per_word(self) -> int:
        """Characters of a word that the network gets beside it; 0 where it gets none."""
        default = DEFAULT_WORD_LENGTH if self.tokens == "word" else 0
        return default if self.word_length is None else self.word_length

    def max_steps(self, kind: str) -> int | None:
        """Tokens of a text or steps of a sequence that are read; None = all."""
        return self.max_length or (DEFAULT_MAX_LENGTHS[self.tokens] if kind == TEXT else None)


class ClassificationInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A text, or readings (time, channels): the kind of data that the model was trained on."""

    text: Annotated[
        Annotated[str, msgspec.Meta(max_length=MAX_REQUEST_CHARS)] | None,
        msgspec.Meta(description="A text, for a model of texts."),
    ] = None
    values: Annotated[
        Annotated[
            list[Annotated[list[float], msgspec.Meta(max_length=MAX_CHANNELS)]],
            msgspec.Meta(max_length=MAX_STEPS),
        ]
        | None,
        msgspec.Meta(description="Readings, for a model of them: for each step a list of its channels."),
    ] = None


class ClassificationParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How many labels to return, the most probable first; by default all of them."""

    top_k: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None,
        msgspec.Meta(description="How many labels to answer; by default all."),
    ] = None


EXAMPLE_INSTANCE: Json = {"text": "A lovely film."}
EXAMPLE_PREDICTION: Json = {"label": "positive", "scores": {"positive": 0.96, "negative": 0.04}}


def check_options(summary: Json, options: ClassificationOptions) -> list[Problem]:
    """The problems of these options for a data set with this summary; none if a job may have them."""
    problems = []
    if summary["kind"] == TEXT:
        problems += tokenizers.vocabulary_problems(options.tokens, options.max_vocabulary)
    if options.tokens != "word" and options.word_length:
        detail = f"only words have characters, and the tokens are of the kind {options.tokens}"
        problems.append(Problem("/options/word_length", detail))
    return problems + class_weight_problems(options.class_weights, summary)


def default_hyperparameters(summary: Json, options: ClassificationOptions) -> tuple[Json, Json]:
    """Default network and training for the kind of data; with character settings if the network gets them."""
    if summary["kind"] != TEXT:
        return READINGS_DEFAULTS
    network, training = TEXT_DEFAULTS
    network = network | (CHARACTER_DEFAULTS if options.characters_per_word else {})
    enough = max(2, round(ENOUGH_EXAMPLES / max(summary["examples"], 1)))
    return network, training | {"epochs": min(max(enough, training["epochs"]), 20)}


def workload(summary: Json, options: ClassificationOptions, network: Json, training: Json) -> Workload:
    """The size of a training; a text has at least one token for so many characters."""
    del training
    texts, median = summary["kind"] == TEXT, summary["lengths"]["median"]
    steps = int(median / MOST_TOKEN_CHARS[options.tokens]) if texts else int(median)
    return Workload(
        examples=trained_examples(summary["splits"]),
        steps=max(1, min(steps, options.max_steps(summary["kind"]) or steps)),
        steps_setting=pointer("options", "max_length"),
        inputs=network["embedding_size"] if texts else summary["channels"],
        outputs=summary["classes"],
        stepwise=False,
    )
