"""How much a training computes at once, told from a data set's summary before anything is read."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from app.errors import pointer
from app.typedefs import Json

MIN_VOCABULARY = 30  # tokens that are known at least, whatever the text
MOST_TOKEN_CHARS = {"character": 1, "bpe": 6, "word": 6}  # characters of a token on average, at most
TRAIN_SHARE = 0.7  # of the examples that are not held out by the file: at least so many are trained on


@dataclass(frozen=True)
class Workload:
    """The size of a training's batches and of its network's ends; never more than it will be."""

    examples: int  # that batches are made of
    steps: int  # of an example that are computed together
    steps_setting: str  # JSON pointer of the setting of a job that bounds `steps`
    inputs: int  # numbers that the recurrence reads at each step
    outputs: int  # numbers that the head gives
    stepwise: bool  # whether it gives them at each step
    vocabulary: int = 0  # rows of the embedding
    total_steps: int | None = None  # of all examples together, if they are pieces of one stream


@runtime_checkable
class SizedTask(Protocol):
    """A task that can tell how much a training computes at once."""

    def workload(self, summary: Json, options: Any, network: Json, training: Json) -> Workload:
        """The size of a training on a data set with this summary."""
        ...


def stream_workload(
    tokens: int, network: Json, training: Json, outputs: int, vocabulary: int = 0
) -> Workload:
    """The size of a training on one stream of tokens that is cut in pieces of `bptt_steps`."""
    steps = min(training["bptt_steps"], tokens)
    return Workload(
        examples=-(-tokens // steps),
        steps=steps,
        steps_setting=pointer("training", "bptt_steps"),
        inputs=network["embedding_size"],
        outputs=outputs,
        stepwise=True,
        vocabulary=vocabulary,
        total_steps=tokens,
    )


def trained_examples(splits: Json) -> int:
    """How many examples are trained on at least, of a summary's counts for each split."""
    return max(1, int(splits["train"] + TRAIN_SHARE * splits["open"]))


def common_words(words: float, most: int) -> int:
    """How many distinct words a text of so many words has at least, of those that come twice; `most` count.

    Heaps' law with the square root, and a factor below that of any text in natural language.
    """
    return int(min(most, 5 * words**0.5))
