"""Generation: a language model of characters, byte pairs or words, that goes on from a prompt.

The training text is one stream, read side by side in `batch_size` places with the network's state carried
from piece to piece (truncated backpropagation through time: Williams & Peng 1990).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.errors import Problem
from app.tasks.contract import (
    UNKNOWN,
    Arrays,
    Batch,
    Defaults,
    Example,
    Faults,
    Found,
    Input,
    Ints,
    Output,
    Plan,
    Reading,
    Source,
    Split,
    TensorField,
)
from app.tasks.generation.baseline import LONGEST, Spelling, measure
from app.tasks.generation.corpus import Part, divide
from app.tasks.generation.detokenizer import Streamed, follow
from app.tasks.generation.encoding import Stream, learn, tokenise, unknown_texts
from app.tasks.generation.inference import Instance, Parameters, Prompts, misfits, read_prompt, search
from app.tasks.generation.metrics import per_character, per_token
from app.tasks.generation.options import (
    BPTT_STEPS,
    Options,
    check_options,
    network_defaults,
    training_defaults,
)
from app.tasks.generation.reading import TEXT, read_documents
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts
from app.tasks.shared.tokenizers import TOKENISED, Unit
from app.typedefs import Json

UNKNOWN_SHARE = 0.02  # of the validation tokens, from which on it is worth a warning


@dataclass(frozen=True)
class Told:
    """The text behind a stream that is measured on, and the one that a counting model learns from."""

    text: Part
    train: Part


class Pieces:
    """A stream as the split a training loop reads."""

    def __init__(self, stream: Stream, told: Told | None = None) -> None:
        self.stream, self.told = stream, told
        self.lengths: Ints = stream.lengths  # (pieces,)
        self.carried = True

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather pieces as the NEXT loss wants them."""
        del rng  # the state is carried over, so every view is the canonical one
        return Batch(*self.stream.gather(rows))


class Generation:
    """One stream of tokens; documents begin and end with `END`, which the network predicts as well."""

    name: ClassVar[str] = "generation"
    bidirectional: ClassVar[bool] = False  # what follows is what is to be predicted
    formats: ClassVar[tuple[str, ...]] = ("txt", "jsonl")
    columns: ClassVar[tuple[str, ...]] = ("text", "split")
    options: ClassVar[type[BaseModel]] = Options
    instance: ClassVar[type[msgspec.Struct]] = Instance
    parameters: ClassVar[type[msgspec.Struct]] = Parameters
    typical: ClassVar[dict[str, tuple[Json, Json]]] = {
        f"a million characters, read by {unit}": ({"train_characters": 1_000_000}, {"tokens": unit.value})
        for unit in Unit
    }
    loss_of: ClassVar[frozenset[str]] = TOKENISED
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (TensorField("prompt", "BYTES", ()),)
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("text", "BYTES", ()),
        TensorField("finish_reason", "BYTES", ()),
        TensorField("tokens", "INT64", ()),
    )

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read one plain text, or a document a line."""
        return Reading(*read_documents(source, faults))

    def check(self, summary: Json, options: Options) -> list[Problem]:
        """Too little text, or a vocabulary too small for its unit."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: Options) -> Defaults:
        """By unit, and by how much text there is."""
        return Defaults(network_defaults(options), training_defaults(summary))

    def measures(self, summary: Json) -> dict[str, bool]:
        """Bits of a character can be compared between units, perplexities cannot."""
        del summary
        return {"bits_per_character": False, "perplexity": False}

    def plan(self, arrays: Arrays, options: Options, seed: int, bptt_steps: int | None = None) -> Plan:
        """Split the documents, learn the vocabulary from the training part, and lay out the streams."""
        parts = divide(Texts.from_arrays(arrays, TEXT), arrays["split"], seed)
        most = options.size(parts.train.characters)
        tokeniser = learn(parts.train, Unit(options.tokens), most, options.least)
        size, steps = tokenizers.size(tokeniser), bptt_steps or BPTT_STEPS
        train, valid, test = (
            Stream(tokenise(tokeniser, part), steps) for part in (parts.train, parts.valid, parts.test)
        )
        known = parts.train.last(LONGEST)
        return Plan(
            state={"tokeniser": tokeniser, "unit": options.tokens},
            input=Input.TOKENS,
            output=Output.NEXT,
            features=1,
            outputs=size,
            train=Pieces(train),
            valid=Pieces(valid, Told(parts.valid, known)),
            test=Pieces(test, Told(parts.test, known)),
            network={"vocabularies": [size], "character_vocabulary": 0, "word_length": 0},
            warnings=_warnings(valid, options.tokens, most),
        )

    def settle(self, state: Json, split: Split, outputs: list[Any]) -> Json:
        """Nothing is left to learn."""
        del split, outputs
        return state

    def misfits(self, summary: Json, state: Json, parameters: Parameters) -> list[Problem]:
        """Any document can be a prompt, but a batch is not streamed."""
        del summary, state
        return misfits(parameters)

    def instances(self, arrays: Arrays, state: Json) -> Prompts:
        """Each document as a prompt."""
        return Prompts(Texts.from_arrays(arrays, TEXT), state["unit"])

    def encode(self, state: Json, instance: Instance, parameters: Parameters) -> Example:
        """The end of the prompt as tokens, and how to go on."""
        inputs = read_prompt(state, instance.prompt)
        return Example(inputs, None, search(instance.prompt, parameters))

    def follow(self, state: Json, search: Json) -> Streamed:
        """A reader of the tokens of one continuation while they are found."""
        return follow(state, search)

    def decode(self, state: Json, example: Example, outputs: Found, parameters: Parameters) -> Json:
        """The continuation alone, up to a stop string or the end of the document."""
        del example
        streamed = Streamed(tokenizers.pieces(state["tokeniser"]), parameters.stops)
        found = streamed.push(outputs.tokens.tolist()) + streamed.close()
        reason = "stop" if streamed.ended else outputs.note.get("finish_reason", "length")
        return {"text": found, "finish_reason": reason, "tokens": streamed.tokens}

    def score(self, state: Json, split: Split, outputs: list[Any]) -> tuple[Json, Json]:
        """Perplexity and bits: of the network, and of counting characters (a 5-gram model).

        All bits are divided by the characters of the text, whatever the unit; what a vocabulary lacks is
        spelled out at the price of its letters, so that units can be compared.
        """
        stream, told = measured_on(split)
        characters = told.text.characters
        nats = float(sum(np.asarray(one, np.float64).sum() for one in outputs))
        lacking = unknown_texts(state["tokeniser"], told.text)
        spelled = nats + (Spelling(told.train).nats(lacking) if lacking else 0.0)
        metrics = per_token(nats, stream.targets) | per_character(spelled, characters)
        counted = measure(told.train, told.text)
        baseline = per_character(counted.spelled, characters)
        if state["unit"] == Unit.CHARACTER:
            baseline |= per_token(counted.nats, counted.targets)
        return metrics, baseline


def measured_on(split: Split) -> tuple[Stream, Told]:
    """The stream of a held-out split of ours, and its text; raises `TypeError` for another split."""
    if isinstance(split, Pieces) and split.told is not None:
        return split.stream, split.told
    raise TypeError("only a held-out part of a text can be scored")


def _warnings(valid: Stream, unit: str, most: int) -> list[str]:
    share = float((valid.tokens == UNKNOWN).mean())
    if share < UNKNOWN_SHARE:
        return []
    lacking = f"The vocabulary lacks {share:.1%} of the validation tokens"
    return [f"{lacking} ({unit}, {most:,} at most); `bpe` lacks none."]


TASK = Generation()
