"""Translation: an encoder-decoder with attention, from one language to another.

An example is a text, best a sentence, and its translation. The baseline translates word by word.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.arrays import Arrays, Ints
from app.errors import Problem
from app.tasks.contract import (
    END,
    Batch,
    DecodedTokens,
    Defaults,
    Example,
    Input,
    Output,
    Plan,
    Split,
    TensorField,
)
from app.tasks.demonstration import Demo
from app.tasks.encode_instances import encode_each
from app.tasks.evaluation.contract import TaskEvaluation
from app.tasks.preview import PreviewRows, RowBounds
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT, partition_rows
from app.tasks.shared.text_checks import TEXT
from app.tasks.shared.tokenizers import SPECIAL_TOKENS, TOKENIZER_SETTINGS, TokenUnit
from app.tasks.source import Faults, Reading, Source
from app.tasks.translation import baseline, encoding
from app.tasks.translation.demo import DEMO
from app.tasks.translation.encoding import EncodedPairs
from app.tasks.translation.evaluation import EVALUATION
from app.tasks.translation.inference import (
    build_prediction,
    decode_text,
    decoding_settings,
    encode_instance,
    encode_source,
)
from app.tasks.translation.instances import TranslationInstances
from app.tasks.translation.metrics import score_translations
from app.tasks.translation.options import (
    EXAMPLE_INSTANCE,
    EXAMPLE_PREDICTION,
    MAX_REQUEST_RATIO,
    NETWORK_DEFAULTS,
    TRAINING_DEFAULTS,
    TranslationInstance,
    TranslationOptions,
    TranslationParameters,
    TranslationPrediction,
    check_options,
    workload,
)
from app.tasks.translation.preview import TranslationPreviewRow, preview_pairs
from app.tasks.translation.reading import SOURCE, TARGET, Pairs, read_pairs
from app.tasks.workload import Workload
from app.typedefs import Json

LENGTH_RATIO_QUANTILE = 0.99  # this share of the training pairs has at most the length ratio in the state


class TranslationSplit:
    """Some pairs as the split a training loop reads; `pairs` and `train` are what it is evaluated with."""

    def __init__(self, tokens: EncodedPairs, rows: Ints, pairs: Pairs, train: Ints, state: Json) -> None:
        self.tokens, self.rows, self.pairs, self.train, self._state = tokens, rows, pairs, train, state
        self.lengths: Ints = tokens.sources.lengths[rows]  # (examples,)
        self.carried = False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather pairs as the SEQUENCE loss expects them; every view is the canonical one."""
        del rng
        return Batch(*self.tokens.gather(self.rows[rows]))

    def decoding(self, row: int) -> Json:
        """The settings for decoding an example, those of a request without parameters."""
        return decoding_settings(self._state, int(self.lengths[row]) - 1, TranslationParameters())


class Translation:
    """Pairs of texts; tokens are learned for each side, and targets run from `BEGIN` to `END`."""

    name: ClassVar[str] = "translation"
    bidirectional: ClassVar[bool] = True  # the encoder
    formats: ClassVar[tuple[str, ...]] = ("tsv", "jsonl")
    columns: ClassVar[tuple[str, ...]] = (SOURCE, TARGET, SPLIT)
    options: ClassVar[type[BaseModel]] = TranslationOptions
    instance: ClassVar[type[msgspec.Struct]] = TranslationInstance
    parameters: ClassVar[type[msgspec.Struct]] = TranslationParameters
    prediction: ClassVar[type[object]] = TranslationPrediction
    preview_row: ClassVar[type[object]] = TranslationPreviewRow
    example_instance: ClassVar[Json] = EXAMPLE_INSTANCE
    example_prediction: ClassVar[Json] = EXAMPLE_PREDICTION
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]] = {"pairs of texts": ({}, {})}
    slow_to_encode: ClassVar[bool] = False
    loss_changing: ClassVar[frozenset[str]] = TOKENIZER_SETTINGS | {"options.max_length"}
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (TensorField(TEXT, "BYTES", ()),)
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField(TEXT, "BYTES", ()),
        TensorField("score", "FP64", ()),
    )
    instance_names: ClassVar[dict[str, str]] = {"source": "text"}
    demo: ClassVar[Demo] = DEMO
    evaluation: ClassVar[TaskEvaluation] = EVALUATION

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read pairs, or sources alone, from a table or JSON Lines."""
        return read_pairs(source, faults)[1]

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        """One instance a record."""
        del faults
        return [record for _, record in source.records()]

    def check(self, summary: Json, options: TranslationOptions) -> list[Problem]:
        """Report a vocabulary too small for its unit, and a length that no pair has."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: TranslationOptions) -> Defaults:
        """The same defaults for all pairs."""
        del summary, options
        return Defaults(NETWORK_DEFAULTS, TRAINING_DEFAULTS)

    def workload(self, summary: Json, options: TranslationOptions, network: Json, training: Json) -> Workload:
        """How much a training computes at once."""
        return workload(summary, options, network, training)

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        """How close translations are to the references."""
        del summary
        return {"bleu": True, "chrf": True}

    def plan(
        self, arrays: Arrays, options: TranslationOptions, seed: int, bptt_steps: int | None = None
    ) -> Plan:
        """Learn the vocabularies from the training pairs; pairs that are too long are not trained on."""
        del bptt_steps  # pairs are read whole
        pairs = Pairs.from_arrays(arrays)
        rows = partition_rows(pairs.splits, seed)
        tokenizer_pair = encoding.train_tokenizers(pairs, rows.train, options)
        sides = (pairs.sources, pairs.targets)
        sources, targets = map(encoding.encode_texts, tokenizer_pair, sides)
        longer = np.maximum(sources.lengths, targets.lengths)  # (pairs,)
        max_tokens = max(options.max_train_tokens, int(longer[rows.train].min()))  # so that a pair is left
        train, valid = (part[longer[part] <= max_tokens] for part in (rows.train, rows.valid))
        state = _state(options, tokenizer_pair, max_tokens, sources.lengths[train], targets.lengths[train])
        tokens = EncodedPairs.of(encoding.truncate_rows(sources, state["longest"]), targets)
        train_split, valid_split, test_split = (
            TranslationSplit(tokens, part, pairs, rows.train, state) for part in (train, valid, rows.test)
        )
        sizes = [tokenizers.vocabulary_size(tokenizer) for tokenizer in tokenizer_pair]
        network, tables = _network(
            options, sizes, [encoding.select_rows(side, train) for side in (sources, targets)]
        )
        left_out = len(rows.train) + len(rows.valid) - len(train) - len(valid)
        return Plan(
            state=state,
            input=Input.TOKENS,
            output=Output.SEQUENCE,
            features=1,
            outputs=sizes[1],
            train=train_split,
            valid=valid_split,
            test=test_split,
            network=network,
            tables=tables,
            warnings=_warnings(left_out, max_tokens),
        )

    def calibrate(self, state: Json, split: Split, outputs: list[DecodedTokens]) -> Json:
        """The same state: nothing is calibrated."""
        del split, outputs
        return state

    def check_dataset(self, summary: Json, state: Json, parameters: TranslationParameters) -> list[Problem]:
        """No problems: any text can be translated."""
        del summary, state, parameters
        return []

    def instances(self, arrays: Arrays, state: Json) -> TranslationInstances:
        """The source of each pair."""
        del state
        return TranslationInstances(Texts.from_arrays(arrays, SOURCE))

    def preview(self, arrays: Arrays, bounds: RowBounds) -> PreviewRows:
        """The pairs of texts."""
        return preview_pairs(Pairs.from_arrays(arrays), bounds)

    def encode(
        self, state: Json, instances: Iterable[TranslationInstance], parameters: TranslationParameters
    ) -> list[Example]:
        """The texts as tokens, and the settings of decoding."""

        def encode_one(instance: TranslationInstance) -> Example:
            source = encode_instance(state, instance)
            return Example(source.inputs, source, decoding_settings(state, len(source.ids), parameters))

        return encode_each(instances, encode_one)

    def decode(
        self,
        state: Json,
        examples: Sequence[Example],
        outputs: Sequence[DecodedTokens],
        parameters: TranslationParameters,
    ) -> list[Json]:
        """The translations, with the attention weights if they are requested."""
        return [
            build_prediction(state, example.context, decoded.tokens, decoded.note, parameters)
            for example, decoded in zip(examples, outputs, strict=True)
        ]

    def step_labels(self, state: Json, instance: TranslationInstance, example: Example) -> list[str]:
        """The tokens of the source, and its end."""
        del state, instance
        return [*tokenizers.piece_labels(example.context.pieces), SPECIAL_TOKENS[END]]

    def score(self, state: Json, split: Split, outputs: list[DecodedTokens]) -> tuple[Json, Json]:
        """BLEU and chrF against the targets as they were uploaded: of the network, and of the dictionary.

        `baseline_pairs` is the number of training pairs that the dictionary was learned from.
        """
        examples = translation_split(split)
        pairs, rows = examples.pairs, examples.rows
        sources, references = pairs.sources.pick(rows), pairs.targets.pick(rows)
        translations = [
            decode_text(state, encode_source(state, source), decoded.tokens, decoded.note)[0]
            for source, decoded in zip(sources, outputs, strict=True)
        ]
        lexicon = baseline.learn_lexicon(pairs.sources, pairs.targets, examples.train)
        word_by_word = [lexicon.translate(source) for source in sources]
        metrics = score_translations(translations, references) | {"baseline_pairs": lexicon.pairs}
        return metrics, score_translations(word_by_word, references)


def _state(
    options: TranslationOptions,
    tokenizer_pair: list[str],
    max_tokens: int,
    source_lengths: Ints,
    target_lengths: Ints,
) -> Json:
    """The state of a model; lengths are those of the training pairs."""
    ratios = target_lengths / np.maximum(source_lengths, 1)
    return {
        "unit": options.tokens,
        "source": tokenizer_pair[0],
        "target": tokenizer_pair[1],
        "longest": MAX_REQUEST_RATIO * max_tokens,
        "stretch": round(float(np.quantile(ratios, LENGTH_RATIO_QUANTILE)), 4),
        "copies": TokenUnit(options.tokens) != TokenUnit.BPE,  # which knows all bytes
    }


def _network(options: TranslationOptions, sizes: list[int], train: list[Ragged]) -> tuple[Json, Arrays]:
    """The network's configuration and tables; `train` has the tokens of both sides of the training pairs."""
    lexicon = encoding.lexicon_tables(train[0], train[1], (sizes[0], sizes[1])) if options.lexicon else {}
    network: Json = {"vocabularies": [sizes[0]], "character_vocabulary": 0, "word_length": 0}
    network["lexicon"] = encoding.LEXICON_WORDS if options.lexicon else 0
    network["alignment"] = len(train[0].values) / max(len(train[1].values), 1)
    return network, lexicon


def translation_split(split: Split) -> TranslationSplit:
    """The split as one of this task; raises `TypeError` for another."""
    if isinstance(split, TranslationSplit):
        return split
    raise TypeError("only pairs can be scored")


def _warnings(left_out: int, max_tokens: int) -> list[str]:
    if not left_out:
        return []
    return [
        f"{left_out:,} pairs with a text of more than {max_tokens:,} tokens are left out of the training."
    ]


TASK = Translation()
