"""Tagging: a tag for each word, of an entity it is in (a name, a place) or of its own (a part of speech).

The baseline gives each word the tag that training has most often for it.
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
    Input,
    Ints,
    Output,
    Plan,
    Reading,
    Source,
    Split,
    TensorField,
)
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import partition
from app.tasks.tagging import vocabulary
from app.tasks.tagging.encoding import Layout, Table, Targets
from app.tasks.tagging.inference import Instance, Parameters, Passage, answer, read_passage
from app.tasks.tagging.metrics import judge
from app.tasks.tagging.options import (
    Options,
    check_options,
    network_defaults,
    training_defaults,
    vocabulary_of,
)
from app.tasks.tagging.reading import read_sentences
from app.tasks.tagging.sentences import TOKENS, WORDS, Sentences, cut
from app.tasks.tagging.tag_schemes import PLAIN
from app.typedefs import Json


class Examples:
    """Some sentences, or pieces of them, as the split a training loop reads."""

    def __init__(self, layout: Layout, rows: Ints) -> None:
        self.layout, self.rows = layout, rows
        self.lengths: Ints = layout.words.lengths[rows]  # (examples,)
        self.carried = False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather sentences as the LABELS loss wants them; a random view has some words unknown."""
        return Batch(*self.layout.gather(self.rows[rows], rng))


class HeldOut(Examples):
    """Whole sentences, and those that a counting model learns from."""

    def __init__(self, layout: Layout, rows: Ints, sentences: Sentences, train: Ints) -> None:
        super().__init__(layout, rows)
        self.sentences, self.train = sentences, train


class Untagged:
    """The sentences of a data set as instances, each made when it is asked for."""

    def __init__(self, arrays: Arrays) -> None:
        self._words, self._tokens = Texts.from_arrays(arrays, WORDS), Ragged.from_arrays(arrays, TOKENS)

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, index: int) -> Instance:
        return Instance(tokens=self._words.pick(self._tokens[index]))


class Tagging:
    """One tag a word; entities are learned and found as whole spans."""

    name: ClassVar[str] = "tagging"
    bidirectional: ClassVar[bool] = True
    formats: ClassVar[tuple[str, ...]] = ("jsonl", "conll")
    columns: ClassVar[tuple[str, ...]] = ("tokens", "tags", "split")
    options: ClassVar[type[BaseModel]] = Options
    instance: ClassVar[type[msgspec.Struct]] = Instance
    parameters: ClassVar[type[msgspec.Struct]] = Parameters
    typical: ClassVar[dict[str, tuple[Json, Json]]] = {
        "entities in 50,000 words": ({"scheme": "bio", "train_tokens": 50_000}, {}),
        "parts of speech of a million words": ({"scheme": PLAIN, "train_tokens": 1_000_000}, {}),
    }
    loss_of: ClassVar[frozenset[str]] = frozenset({"network.crf", "options.scheme", "options.max_length"})
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("text", "BYTES", (), required=False),
        TensorField("tokens", "BYTES", (-1,), required=False),
    )
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("tokens", "BYTES", (-1,)),
        TensorField("tags", "BYTES", (-1,)),
    )

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read tagged sentences, and whether their tags tell entities."""
        sentences, summary, warnings = read_sentences(source, faults)
        return Reading(sentences.arrays(), summary, warnings)

    def check(self, summary: Json, options: Options) -> list[Problem]:
        """A scheme of entities for tags that tell none."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: Options) -> Defaults:
        """By whether entities are learned, and by how much text there is."""
        return Defaults(network_defaults(summary, options), training_defaults(summary, options))

    def measures(self, summary: Json) -> dict[str, bool]:
        """How many tags are right; of entities, found as such, F1 too."""
        return {"accuracy": True} if summary["scheme"] == PLAIN else {"f1": True, "accuracy": True}

    def plan(self, arrays: Arrays, options: Options, seed: int, bptt_steps: int | None = None) -> Plan:
        """Split the sentences, learn the vocabulary and the tags from the training part, and lay all out."""
        del bptt_steps  # sentences are read whole
        sentences = Sentences.from_arrays(arrays)
        rows = partition(sentences.splits, seed)
        targets = Targets.learn(sentences, rows.train, options.scheme)
        words = sentences.words.pick(range(len(sentences.words)))
        counts = np.bincount(sentences.tokens.values[sentences.taken(rows.train)], minlength=len(words))
        written = vocabulary.learn(words, counts, **vocabulary_of(options, counts))
        table = Table.of(written, words, counts, options.rare_dropout)
        sizes = vocabulary.load(written).sizes
        whole = _layout(table, sentences, targets, sentences.tokens.offsets)
        pieces = cut(sentences.tokens.offsets, options.max_length, targets.apart)
        parts = _layout(table, sentences, targets, pieces)
        owners = np.searchsorted(sentences.tokens.offsets, pieces[:-1], side="right") - 1  # (pieces,)
        train, valid = (np.flatnonzero(np.isin(owners, some)) for some in (rows.train, rows.valid))
        answers = PLAIN if sentences.scheme is None else sentences.scheme.name
        return Plan(
            state={
                "scheme": targets.scheme,
                "answers": answers if targets.scheme != PLAIN else PLAIN,
                "tags": targets.names,
                "vocabulary": written,
            },
            input=Input.TOKENS,
            output=Output.LABELS,
            features=table.rows.shape[1],
            outputs=len(targets.names),
            train=Examples(parts, train),
            valid=Examples(parts, valid),
            test=HeldOut(whole, rows.test, sentences, rows.train),
            judged=HeldOut(whole, rows.valid, sentences, rows.train),
            network={
                "vocabularies": sizes.columns,
                "character_vocabulary": sizes.characters,
                "word_length": options.word_length,
                "forbidden": targets.forbidden,
            },
            warnings=_warnings(len(train) + len(valid) - len(rows.train) - len(rows.valid), options),
        )

    def settle(self, state: Json, split: Split, outputs: list[Ints]) -> Json:
        """Nothing is left to learn."""
        del split, outputs
        return state

    def misfits(self, summary: Json, state: Json, parameters: Parameters) -> list[Problem]:
        """Any sentence can be tagged."""
        del summary, state, parameters
        return []

    def instances(self, arrays: Arrays, state: Json) -> Untagged:
        """The tokens of each sentence."""
        del state
        return Untagged(arrays)

    def encode(self, state: Json, instance: Instance, parameters: Parameters) -> Example:
        """The words as columns and characters."""
        del parameters
        passage = read_passage(instance)
        return Example(vocabulary.load(state["vocabulary"]).rows(passage.tokens), passage)

    def decode(self, state: Json, example: Example, outputs: Ints, parameters: Parameters) -> Json:
        """A tag for each word, and the entities with their places in the text."""
        del parameters
        passage: Passage = example.context
        return answer(state, passage, outputs)

    def score(self, state: Json, split: Split, outputs: list[Ints]) -> tuple[Json, Json]:
        """Of entities precision, recall and F1 by seqeval's rules, else how many tags are right."""
        if not isinstance(split, HeldOut):
            raise TypeError("only whole sentences can be scored")
        return judge(state, split.sentences, split.rows, split.train, np.concatenate(outputs))


def _layout(table: Table, sentences: Sentences, targets: Targets, offsets: Ints) -> Layout:
    return Layout(table, Ragged(sentences.tokens.values, offsets), Ragged(targets.numbers, offsets))


def _warnings(cuts: int, options: Options) -> list[str]:
    if not cuts:
        return []
    return [f"Sentences of over {options.max_length} tokens are cut for training, {cuts:,} times."]


TASK = Tagging()
