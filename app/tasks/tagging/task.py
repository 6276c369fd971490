"""Tagging: a tag for each word, of an entity it is in (a name, a place) or of its own (a part of speech).

The baseline gives each word the tag that training has most often for it.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.arrays import Arrays, Ints
from app.errors import Problem
from app.tasks.contract import UNKNOWN, Batch, Defaults, Example, Input, Output, Plan, Split, TensorField
from app.tasks.demonstration import Demo
from app.tasks.encode_instances import encode_each
from app.tasks.evaluation.contract import TaskEvaluation
from app.tasks.preview import PreviewRows, RowBounds
from app.tasks.shared.ragged import Ragged
from app.tasks.shared.splits import SplitRows, partition_rows
from app.tasks.shared.tokenizers import SPECIAL_TOKENS
from app.tasks.source import TOKEN_LINES, Faults, Reading, Source
from app.tasks.tagging.demo import DEMO
from app.tasks.tagging.encoding import EncodedSentences, TagTargets, WordTable
from app.tasks.tagging.evaluation.entities import EVALUATION
from app.tasks.tagging.inference import (
    TaggingInstance,
    TaggingInstances,
    TaggingParameters,
    make_prediction,
    tokenize_instance,
)
from app.tasks.tagging.metrics import evaluate_tags
from app.tasks.tagging.options import (
    EXAMPLE_INSTANCE,
    EXAMPLE_PREDICTION,
    TaggingOptions,
    TaggingPrediction,
    check_options,
    network_defaults,
    training_defaults,
    vocabulary_settings,
    workload,
)
from app.tasks.tagging.reading import read_sentences
from app.tasks.tagging.sentences import Sentences, cut_sentences
from app.tasks.tagging.summary import TaggingPreviewRow, preview_sentences
from app.tasks.tagging.tag_schemes import PLAIN
from app.tasks.tagging.vocabulary import learn_vocabulary, load_vocabulary
from app.tasks.workload import Workload
from app.typedefs import Json


class TaggingSplit:
    """Some sentences, or pieces of them, as the split that a training loop reads."""

    def __init__(self, encoded: EncodedSentences, rows: Ints) -> None:
        self.encoded, self.rows = encoded, rows
        self.lengths: Ints = encoded.words.lengths[rows]  # (examples,)
        self.carried = False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Sentences as a batch with LABELS; with `rng` some words are read as unknown."""
        return Batch(*self.encoded.gather(self.rows[rows], rng))


class TaggingEvaluationSplit(TaggingSplit):
    """Whole sentences to evaluate on, with the training sentences `train` that the baseline counts."""

    def __init__(self, encoded: EncodedSentences, rows: Ints, sentences: Sentences, train: Ints) -> None:
        super().__init__(encoded, rows)
        self.sentences, self.train = sentences, train


class Tagging:
    """The task: one tag a word; entities are learned, predicted and scored as whole spans."""

    name: ClassVar[str] = "tagging"
    bidirectional: ClassVar[bool] = True
    formats: ClassVar[tuple[str, ...]] = ("jsonl", "conll")
    columns: ClassVar[tuple[str, ...]] = ("tokens", "tags", "split")
    options: ClassVar[type[BaseModel]] = TaggingOptions
    instance: ClassVar[type[msgspec.Struct]] = TaggingInstance
    parameters: ClassVar[type[msgspec.Struct]] = TaggingParameters
    prediction: ClassVar[type[object]] = TaggingPrediction
    preview_row: ClassVar[type[object]] = TaggingPreviewRow
    example_instance: ClassVar[Json] = EXAMPLE_INSTANCE
    example_prediction: ClassVar[Json] = EXAMPLE_PREDICTION
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]] = {
        "entities in 50,000 words": ({"scheme": "bio", "train_tokens": 50_000}, {}),
        "parts of speech of a million words": ({"scheme": PLAIN, "train_tokens": 1_000_000}, {}),
    }
    slow_to_encode: ClassVar[bool] = False
    loss_changing: ClassVar[frozenset[str]] = frozenset(
        {"network.crf", "options.scheme", "options.max_length"}
    )
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("text", "BYTES", (), required=False, alternative=True),
        TensorField("tokens", "BYTES", (-1,), required=False, alternative=True),
    )
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("tokens", "BYTES", (-1,)),
        TensorField("tags", "BYTES", (-1,)),
    )
    instance_names: ClassVar[dict[str, str]] = {}
    demo: ClassVar[Demo] = DEMO
    evaluation: ClassVar[TaskEvaluation] = EVALUATION

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read sentences, and detect the scheme of their tags where they have them."""
        return read_sentences(source, faults)[1]

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        """One instance a record."""
        del faults
        return [
            {name: value for name, value in record.items() if name != TOKEN_LINES}
            for _, record in source.records()
        ]

    def check(self, summary: Json, options: TaggingOptions) -> list[Problem]:
        """Refuse a scheme of entities for tags that mark none."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: TaggingOptions) -> Defaults:
        """Defaults by whether entities are learned, and by the size of the data set."""
        return Defaults(network_defaults(summary, options), training_defaults(summary, options))

    def workload(self, summary: Json, options: TaggingOptions, network: Json, training: Json) -> Workload:
        """How much a training computes at once."""
        return workload(summary, options, network, training)

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        """The accuracy of tags and, where they mark entities, F1; of both, more is better."""
        return {"accuracy": True} if summary["scheme"] == PLAIN else {"f1": True, "accuracy": True}

    def plan(self, arrays: Arrays, options: TaggingOptions, seed: int, bptt_steps: int | None = None) -> Plan:
        """Split the sentences, learn vocabulary and tags from the training split, and encode all of them."""
        del bptt_steps  # sentences are read whole
        sentences = Sentences.from_arrays(arrays)
        rows = partition_rows(sentences.splits, seed)
        targets = TagTargets.learn(sentences, rows.train, options.scheme)
        vocabulary, table = _encode_words(sentences, rows.train, options)
        whole = _encode_sentences(table, sentences, targets, sentences.tokens.offsets)
        offsets = cut_sentences(sentences.tokens.offsets, options.max_length, targets.can_cut_before)
        pieces = _encode_sentences(table, sentences, targets, offsets)
        owners = np.searchsorted(sentences.tokens.offsets, offsets[:-1], side="right") - 1  # (pieces,)
        train, valid = (np.flatnonzero(np.isin(owners, part)) for part in (rows.train, rows.valid))
        sizes = load_vocabulary(vocabulary).sizes
        return Plan(
            state=_make_state(sentences, targets, vocabulary),
            input=Input.TOKENS,
            output=Output.LABELS,
            features=table.rows.shape[1],
            outputs=len(targets.tag_names),
            train=TaggingSplit(pieces, train),
            valid=TaggingSplit(pieces, valid),
            test=TaggingEvaluationSplit(whole, rows.test, sentences, rows.train),
            valid_for_score=TaggingEvaluationSplit(whole, rows.valid, sentences, rows.train),
            network={
                "vocabularies": sizes.columns,
                "character_vocabulary": sizes.characters,
                "word_length": options.word_length,
                "forbidden": targets.forbidden,
            },
            warnings=_warn_of_cuts(len(train) + len(valid), rows, options),
        )

    def calibrate(self, state: Json, split: Split, outputs: list[Ints]) -> Json:
        """The state as it is: tags need no calibration."""
        del split, outputs
        return state

    def check_dataset(self, summary: Json, state: Json, parameters: TaggingParameters) -> list[Problem]:
        """No problems: any sentence can be tagged."""
        del summary, state, parameters
        return []

    def instances(self, arrays: Arrays, state: Json) -> TaggingInstances:
        """The tokens of each sentence."""
        del state
        return TaggingInstances(arrays)

    def preview(self, arrays: Arrays, bounds: RowBounds) -> PreviewRows:
        """The sentences with their tags."""
        return preview_sentences(Sentences.from_arrays(arrays), bounds)

    def encode(
        self, state: Json, instances: Iterable[TaggingInstance], parameters: TaggingParameters
    ) -> list[Example]:
        """The words of an instance as columns and characters; for one without words a single unknown word."""
        del parameters
        vocabulary = load_vocabulary(state["vocabulary"])

        def encode_one(instance: TaggingInstance) -> Example:
            text = tokenize_instance(instance)
            return Example(vocabulary.rows(text.tokens or [""]), text)

        return encode_each(instances, encode_one)

    def decode(
        self,
        state: Json,
        examples: Sequence[Example],
        outputs: Sequence[Ints],
        parameters: TaggingParameters,
    ) -> list[Json]:
        """A tag for each word, and the entities with their positions in the text."""
        del parameters
        pairs = zip(examples, outputs, strict=True)
        return [make_prediction(state, example.context, labels) for example, labels in pairs]

    def step_labels(self, state: Json, instance: TaggingInstance, example: Example) -> list[str]:
        """The words."""
        del state, instance
        return example.context.tokens or [SPECIAL_TOKENS[UNKNOWN]]

    def score(self, state: Json, split: Split, outputs: list[Ints]) -> tuple[Json, Json]:
        """Precision, recall and F1 of entities by seqeval's rules, or the accuracy of plain tags."""
        if not isinstance(split, TaggingEvaluationSplit):
            raise TypeError("only whole sentences can be scored")
        return evaluate_tags(state, split.sentences, split.rows, split.train, np.concatenate(outputs))


def _encode_words(sentences: Sentences, train: Ints, options: TaggingOptions) -> tuple[str, WordTable]:
    """The vocabulary of the training sentences, and all words encoded with it."""
    words = sentences.words.pick(range(len(sentences.words)))
    train_words = sentences.tokens.values[sentences.token_indices(train)]
    counts = np.bincount(train_words, minlength=len(words))
    vocabulary = learn_vocabulary(words, counts, **vocabulary_settings(options, counts))
    return vocabulary, WordTable.from_words(vocabulary, words, counts, options.rare_dropout)


def _encode_sentences(
    table: WordTable, sentences: Sentences, targets: TagTargets, offsets: Ints
) -> EncodedSentences:
    """The tokens and tags of sentences, or of their pieces, that begin at `offsets`."""
    words, tags = Ragged(sentences.tokens.values, offsets), Ragged(targets.tag_ids, offsets)
    return EncodedSentences(table, words, tags)


def _make_state(sentences: Sentences, targets: TagTargets, vocabulary: str) -> Json:
    file_scheme = PLAIN if sentences.scheme is None else sentences.scheme.name
    return {
        "scheme": targets.scheme,
        "answers": file_scheme if targets.scheme != PLAIN else PLAIN,
        "tags": targets.tag_names,
        "vocabulary": vocabulary,
    }


def _warn_of_cuts(pieces: int, rows: SplitRows, options: TaggingOptions) -> list[str]:
    """A warning if training and validation sentences were cut into more pieces than there are of them."""
    cuts = pieces - len(rows.train) - len(rows.valid)
    if not cuts:
        return []
    return [f"Sentences of over {options.max_length} tokens are cut for training, {cuts:,} times."]


TASK = Tagging()
