"""Translation: an encoder-decoder with attention, from one language to another.

A pair is a sentence and its translation. The baseline is a dictionary that replaces word by word.
"""

from typing import ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.errors import Problem
from app.tasks.contract import (
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
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import partition
from app.tasks.shared.tokenizers import TOKENISED
from app.tasks.translation import baseline, encoding
from app.tasks.translation.encoding import Bitext
from app.tasks.translation.inference import Original, answer, read_instance, read_text, search, write
from app.tasks.translation.metrics import compare
from app.tasks.translation.options import (
    NETWORK,
    STRETCH,
    TRAINING,
    Instance,
    Options,
    Parameters,
    check_options,
)
from app.tasks.translation.reading import Pairs, read_pairs
from app.typedefs import Json

USUAL = 0.99  # of the training pairs have no longer a translation, for the length of their source


class Examples:
    """Some pairs as the split a training loop reads; `pairs` and `train` tell what it is scored by."""

    def __init__(self, tokens: Bitext, rows: Ints, pairs: Pairs, train: Ints, state: Json) -> None:
        self.tokens, self.rows, self.pairs, self.train, self._state = tokens, rows, pairs, train, state
        self.lengths: Ints = tokens.sources.lengths[rows]  # (examples,)
        self.carried = False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather pairs as the SEQUENCE loss wants them; they have no other view than the canonical one."""
        del rng
        return Batch(*self.tokens.gather(self.rows[rows]))

    def search(self, row: int) -> Json:
        """How to look for the translation of an example, as a request without parameters would."""
        return search(self._state, int(self.lengths[row]) - 1, Parameters())


class Sources:
    """The sources of a data set as instances, each read when it is asked for."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> Instance:
        return Instance(self._texts[index])


class Translation:
    """Pairs of texts; tokens are learned for each side, and targets run from `BEGIN` to `END`."""

    name: ClassVar[str] = "translation"
    bidirectional: ClassVar[bool] = True  # the encoder
    formats: ClassVar[tuple[str, ...]] = ("tsv", "jsonl")
    columns: ClassVar[tuple[str, ...]] = ("source", "target", "split")
    options: ClassVar[type[BaseModel]] = Options
    instance: ClassVar[type[msgspec.Struct]] = Instance
    parameters: ClassVar[type[msgspec.Struct]] = Parameters
    typical: ClassVar[dict[str, tuple[Json, Json]]] = {"pairs of texts": ({}, {})}
    loss_of: ClassVar[frozenset[str]] = TOKENISED | {"options.max_length"}
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (TensorField("text", "BYTES", ()),)
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("text", "BYTES", ()),
        TensorField("score", "FP64", ()),
    )

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read pairs from a table or JSON Lines."""
        pairs, summary, warnings = read_pairs(source, faults)
        return Reading(pairs.arrays(), summary, warnings)

    def check(self, summary: Json, options: Options) -> list[Problem]:
        """A vocabulary too small for its unit, or no pair short enough."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: Options) -> Defaults:
        """The same for all pairs."""
        del summary, options
        return Defaults(NETWORK, TRAINING)

    def measures(self, summary: Json) -> dict[str, bool]:
        """How near translations are to those of the file."""
        del summary
        return {"bleu": True, "chrf": True}

    def plan(self, arrays: Arrays, options: Options, seed: int, bptt_steps: int | None = None) -> Plan:
        """Learn the vocabularies from the training pairs, and leave out what is too long to learn from."""
        del bptt_steps  # pairs are read whole
        pairs = Pairs.from_arrays(arrays)
        rows = partition(pairs.splits, seed)
        source, target = encoding.learn(pairs, rows.train, options)
        sources, targets = encoding.tokenise(source, pairs.sources), encoding.tokenise(target, pairs.targets)
        longer = np.maximum(sources.lengths, targets.lengths)  # (pairs,)
        longest = max(options.longest, int(longer[rows.train].min()))  # so that a pair is left
        train, valid = (part[longer[part] <= longest] for part in (rows.train, rows.valid))
        read = STRETCH * longest
        tokens = Bitext.of(encoding.cut(sources, read), targets)
        stretches = targets.lengths[train] / np.maximum(sources.lengths[train], 1)
        state = {
            "unit": options.tokens,
            "source": source,
            "target": target,
            "longest": read,
            "stretch": round(float(np.quantile(stretches, USUAL)), 4),
            "copies": tokenizers.Unit(options.tokens) != tokenizers.Unit.BPE,  # which knows all bytes
        }
        train_split, valid_split, test_split = (
            Examples(tokens, part, pairs, rows.train, state) for part in (train, valid, rows.test)
        )
        sizes = (tokenizers.size(source), tokenizers.size(target))
        pieces = [encoding.picked(side, train) for side in (sources, targets)]
        tables = encoding.dictionary(pieces[0], pieces[1], sizes) if options.lexicon else {}
        network: Json = {"vocabularies": [sizes[0]], "character_vocabulary": 0, "word_length": 0}
        network["lexicon"] = encoding.LISTED if options.lexicon else 0
        network["alignment"] = len(pieces[0].values) / max(len(pieces[1].values), 1)
        left_out = len(rows.train) + len(rows.valid) - len(train) - len(valid)
        return Plan(
            state=state,
            input=Input.TOKENS,
            output=Output.SEQUENCE,
            features=1,
            outputs=tokenizers.size(target),
            train=train_split,
            valid=valid_split,
            test=test_split,
            network=network,
            tables=tables,
            warnings=_warnings(left_out, longest),
        )

    def settle(self, state: Json, split: Split, outputs: list[Found]) -> Json:
        """Nothing is left to learn."""
        del split, outputs
        return state

    def misfits(self, summary: Json, state: Json, parameters: Parameters) -> list[Problem]:
        """Any text can be translated."""
        del summary, state, parameters
        return []

    def instances(self, arrays: Arrays, state: Json) -> Sources:
        """The source of each pair."""
        del state
        return Sources(Texts.from_arrays(arrays, "source"))

    def encode(self, state: Json, instance: Instance, parameters: Parameters) -> Example:
        """The text as tokens, and how to look for its translation."""
        original = read_instance(state, instance)
        return Example(original.inputs, original, search(state, len(original.ids), parameters))

    def decode(self, state: Json, example: Example, outputs: Found, parameters: Parameters) -> Json:
        """The translation, and what the network looked at if that is asked for."""
        original: Original = example.context
        return answer(state, original, outputs.tokens, outputs.note, parameters)

    def score(self, state: Json, split: Split, outputs: list[Found]) -> tuple[Json, Json]:
        """BLEU and chrF against the targets as they were uploaded: of the network, and of the dictionary.

        `baseline_pairs` is how many training pairs the dictionary was learned from.
        """
        examples = examples_of(split)
        pairs, rows = examples.pairs, examples.rows
        sources, references = pairs.sources.pick(rows), pairs.targets.pick(rows)
        written = [
            write(state, read_text(state, source), found.tokens, found.note)[0]
            for source, found in zip(sources, outputs, strict=True)
        ]
        words = baseline.learn(pairs.sources, pairs.targets, examples.train)
        by_word = compare([words.translate(source) for source in sources], references)
        return compare(written, references) | {"baseline_pairs": words.pairs}, by_word


def examples_of(split: Split) -> Examples:
    """A split of ours; raises `TypeError` for another."""
    if isinstance(split, Examples):
        return split
    raise TypeError("only pairs can be scored")


def _warnings(left_out: int, longest: int) -> list[str]:
    if not left_out:
        return []
    return [f"{left_out:,} pairs with a text of more than {longest:,} tokens are left out of the training."]


TASK = Translation()
