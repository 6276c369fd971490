"""Options of a translation job, instances and parameters of a request, and the defaults of a job."""

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem, pointer
from app.tasks.contract import Prediction
from app.tasks.shared import tokenizers
from app.tasks.shared.text_checks import MAX_TEXT_CHARS
from app.tasks.workload import MIN_VOCABULARY, TRAIN_SHARE, Workload, common_words
from app.typedefs import Json

DEFAULT_VOCABULARY_SIZES = {"bpe": 4_000, "word": 12_000, "character": 2_000}
DEFAULT_MAX_LENGTHS = {"bpe": 100, "word": 100, "character": 400}
MAX_REQUEST_RATIO = 2  # a request may be this many times longer than the longest text of the training
MAX_TRANSLATION_TOKENS = 512

# The network and training of a job that sets nothing.
NETWORK_DEFAULTS: Json = {
    "cell": "lstm",
    "layers": 1,
    "hidden_size": 256,
    "bidirectional": True,
    "dropout": 0.2,
    "input_dropout": 0.2,
    "variational_dropout": True,
    "weight_drop": 0.0,
    "embedding_size": 192,
    "word_dropout": 0.0,
    "tie_weights": True,
    "attention": "general",
}
TRAINING_DEFAULTS: Json = {
    "epochs": 4,
    "batch_size": 24,
    "learning_rate": 3e-3,
    "clip_norm": 1.0,
    "patience": 3,
    "label_smoothing": 0.1,
    "autocast": True,
}


class TranslationOptions(BaseModel):
    """Options of a translation job."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    tokens: Annotated[
        Literal["bpe", "word", "character"],
        Field(description="The unit that the network reads and writes at each step."),
    ] = "bpe"
    vocabulary_size: Annotated[
        int | None,
        Field(
            ge=8,
            le=1 << 16,
            description="Maximum number of tokens a side; null: 4000 for bpe, 12000 words, 2000 characters.",
        ),
    ] = None
    shared_vocabulary: Annotated[
        bool, Field(description="One vocabulary for both sides; for languages that share a script.")
    ] = False
    lower: Annotated[bool, Field(description="Read and write lower case only.")] = False
    min_count: Annotated[
        int, Field(ge=1, le=1_000_000, description="How often a token must occur to be known.")
    ] = 2
    max_length: Annotated[
        int | None,
        Field(
            ge=1,
            le=2_000,
            description="Tokens of the longest text to train on; null: 100, or 400 characters. "
            "Longer pairs are left out; a request is cut at twice as many, and its answer says so.",
        ),
    ] = None
    lexicon: Annotated[
        bool,
        Field(
            description="Give the network a dictionary learned from the training pairs by IBM model 1, "
            "which helps where pairs are few (Arthur, Neubig & Nakamura 2016)."
        ),
    ] = True

    @property
    def max_vocabulary(self) -> int:
        """The maximum number of tokens of a vocabulary."""
        return self.vocabulary_size or DEFAULT_VOCABULARY_SIZES[self.tokens]

    @property
    def max_train_tokens(self) -> int:
        """The maximum number of tokens of a text to train on."""
        return self.max_length or DEFAULT_MAX_LENGTHS[self.tokens]


class TranslationInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A text to translate: best a sentence, as in the training pairs. That of a blank one is empty."""

    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS, description="What is translated.")]


class TranslationParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The settings of the search for the best translation (Wu et al. 2016, section 7), and of the answer.

    A beam of 1 is greedy. `max_tokens` defaults to what the length of the source lets expect;
    `length_penalty` is the paper's alpha, `coverage_penalty` its beta. With `attention` the answer has the
    pieces of both texts and, for each piece of the translation, the weights of those of the source.
    """

    beam_size: Annotated[int, msgspec.Meta(ge=1, le=32, description="Translations that are compared.")] = 5
    max_tokens: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=MAX_TRANSLATION_TOKENS)] | None,
        msgspec.Meta(description="How long the translation may get; by default it depends on the text."),
    ] = None
    length_penalty: Annotated[
        float, msgspec.Meta(ge=0, le=2, description="More of it makes translations longer.")
    ] = 0.8
    coverage_penalty: Annotated[
        float, msgspec.Meta(ge=0, le=2, description="More of it leaves out less of the text.")
    ] = 0.0
    attention: bool = False


class TranslationAttention(TypedDict):
    """For each piece of the translation (`target`) the weights of those of the source, if asked for."""

    source: list[str]
    target: list[str]
    weights: list[list[float]]


class TranslationPrediction(Prediction):
    """The translation, and its score (log-probability with the penalties of the search)."""

    text: str
    score: float
    truncated: NotRequired[bool]
    attention: NotRequired[TranslationAttention]


EXAMPLE_INSTANCE: Json = {"text": "Good morning!"}
EXAMPLE_PREDICTION: Json = {"text": "¡Buenos días!", "score": -0.41}


def check_options(summary: Json, options: TranslationOptions) -> list[Problem]:
    """The problems of these options for a data set with this summary; none if a job may have them."""
    problems = tokenizers.vocabulary_problems(options.tokens, options.max_vocabulary)
    words = max(summary[side]["words_per_text"]["shortest"] for side in ("source", "target"))
    if options.max_train_tokens < words:  # and a word is a token or more
        detail = f"Every pair has a text of {words} words or more: none would be left to train on."
        problems.append(Problem("/options/max_length", detail))
    return problems


def workload(summary: Json, options: TranslationOptions, network: Json, training: Json) -> Workload:
    """The size of a training, by the words of the texts to write; byte pairs are at least as many."""
    del training
    target = summary["target"]
    median = min(int(target["words_per_text"]["median"]), options.max_train_tokens)
    words = common_words(TRAIN_SHARE * target["words"], options.max_vocabulary)
    return Workload(
        examples=max(1, int(TRAIN_SHARE * summary["pairs"])),
        steps=max(1, median),
        steps_setting=pointer("options", "max_length"),
        inputs=network["embedding_size"],
        outputs=words if options.tokens == "word" else MIN_VOCABULARY,
        stepwise=True,
    )
