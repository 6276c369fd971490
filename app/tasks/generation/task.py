"""Generation: a language model of characters, byte pairs or words that continues a prompt.

The training text is one stream, read in `batch_size` parts side by side, with the network's state carried
from piece to piece (truncated backpropagation through time: Williams & Peng 1990).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.arrays import Arrays, Ints
from app.errors import Problem
from app.tasks.contract import (
    UNKNOWN,
    Batch,
    DecodedTokens,
    Defaults,
    Example,
    Input,
    Output,
    Plan,
    Split,
    TensorField,
    batch_stream_problems,
)
from app.tasks.demonstration import Demo
from app.tasks.encode_instances import encode_each
from app.tasks.evaluation.contract import TaskEvaluation
from app.tasks.generation.baseline import MAX_TRAIN_CHARS, SpellingModel, score_ngrams
from app.tasks.generation.corpus import CorpusPart, split_corpus
from app.tasks.generation.demo import DEMO
from app.tasks.generation.detokenizer import TextDetokenizer, open_detokenizer
from app.tasks.generation.encoding import (
    EncodedCorpus,
    encode_corpus,
    train_corpus_tokenizer,
    unknown_texts,
)
from app.tasks.generation.evaluation import EVALUATION
from app.tasks.generation.inference import (
    GenerationInstance,
    GenerationInstances,
    GenerationParameters,
    decoding_settings,
    encode_prompt,
    prompt_labels,
)
from app.tasks.generation.metrics import metrics_per_character, metrics_per_token
from app.tasks.generation.options import (
    DEFAULT_BPTT_STEPS,
    EXAMPLE_INSTANCE,
    EXAMPLE_PREDICTION,
    GenerationOptions,
    GenerationPrediction,
    check_options,
    network_defaults,
    training_defaults,
    workload,
)
from app.tasks.generation.preview import GenerationPreviewRow, preview_documents
from app.tasks.generation.reading import read_documents, untrainable
from app.tasks.preview import PreviewRows, RowBounds
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.text_checks import TEXT
from app.tasks.shared.tokenizers import TOKENIZER_SETTINGS, TokenUnit
from app.tasks.source import Faults, Reading, Source
from app.tasks.workload import Workload
from app.typedefs import Json

MAX_UNKNOWN_SHARE = 0.02  # of the validation tokens; more cause a warning


@dataclass(frozen=True)
class GenerationEvaluationData:
    """The text of a held-out split, and the training text that the baseline learns from."""

    text: CorpusPart
    train: CorpusPart


class GenerationSplit:
    """An encoded part of a corpus as the split a training loop reads; its examples are pieces."""

    def __init__(self, encoded: EncodedCorpus, data: GenerationEvaluationData | None = None) -> None:
        self.encoded, self.data = encoded, data
        self.lengths: Ints = encoded.lengths  # (pieces,)
        self.carried = True

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather pieces as the NEXT_TOKEN loss expects them."""
        del rng  # the state is carried over, so every view is the canonical one
        return Batch(*self.encoded.gather(rows))


class Generation:
    """One stream of tokens; documents begin and end with `END`, which the network predicts as well."""

    name: ClassVar[str] = "generation"
    bidirectional: ClassVar[bool] = False  # what follows is what is to be predicted
    formats: ClassVar[tuple[str, ...]] = ("txt", "jsonl")
    columns: ClassVar[tuple[str, ...]] = (TEXT, SPLIT)
    options: ClassVar[type[BaseModel]] = GenerationOptions
    instance: ClassVar[type[msgspec.Struct]] = GenerationInstance
    parameters: ClassVar[type[msgspec.Struct]] = GenerationParameters
    prediction: ClassVar[type[object]] = GenerationPrediction
    preview_row: ClassVar[type[object]] = GenerationPreviewRow
    example_instance: ClassVar[Json] = EXAMPLE_INSTANCE
    example_prediction: ClassVar[Json] = EXAMPLE_PREDICTION
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]] = {
        f"a million characters, read by {unit}": ({"train_characters": 1_000_000}, {"tokens": unit.value})
        for unit in TokenUnit
    }
    slow_to_encode: ClassVar[bool] = False
    loss_changing: ClassVar[frozenset[str]] = TOKENIZER_SETTINGS
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (TensorField("prompt", "BYTES", ()),)
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField("text", "BYTES", ()),
        TensorField("finish_reason", "BYTES", ()),
        TensorField("tokens", "INT64", ()),
    )
    instance_names: ClassVar[dict[str, str]] = {"text": "prompt"}
    demo: ClassVar[Demo] = DEMO
    evaluation: ClassVar[TaskEvaluation] = EVALUATION

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read one plain text, or a document a line."""
        arrays, summary, warnings = read_documents(source, faults)
        return Reading(arrays, summary, warnings, untrainable(summary))

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        """One instance a record."""
        del faults
        return [record for _, record in source.records()]

    def check(self, summary: Json, options: GenerationOptions) -> list[Problem]:
        """Report too little text, and a vocabulary too small for its unit."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: GenerationOptions) -> Defaults:
        """Defaults by unit, and by how much text there is."""
        return Defaults(network_defaults(options), training_defaults(summary))

    def workload(self, summary: Json, options: GenerationOptions, network: Json, training: Json) -> Workload:
        """How much a training computes at once."""
        return workload(summary, options, network, training)

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        """Bits per character can be compared between units, perplexities cannot."""
        del summary
        return {"bits_per_character": False, "perplexity": False}

    def plan(
        self, arrays: Arrays, options: GenerationOptions, seed: int, bptt_steps: int | None = None
    ) -> Plan:
        """Split the documents, learn the vocabulary from the training part, and lay out the streams."""
        parts = split_corpus(Texts.from_arrays(arrays, TEXT), arrays[SPLIT], seed)
        max_vocabulary = options.max_vocabulary(parts.train.characters)
        tokenizer = train_corpus_tokenizer(
            parts.train, TokenUnit(options.tokens), max_vocabulary, options.min_token_count
        )
        size, steps = tokenizers.vocabulary_size(tokenizer), bptt_steps or DEFAULT_BPTT_STEPS
        train, valid, test = (
            EncodedCorpus(encode_corpus(tokenizer, part), steps)
            for part in (parts.train, parts.valid, parts.test)
        )
        known = parts.train.last(MAX_TRAIN_CHARS)
        return Plan(
            state={"tokeniser": tokenizer, "unit": options.tokens},
            input=Input.TOKENS,
            output=Output.NEXT_TOKEN,
            features=1,
            outputs=size,
            train=GenerationSplit(train),
            valid=GenerationSplit(valid, GenerationEvaluationData(parts.valid, known)),
            test=GenerationSplit(test, GenerationEvaluationData(parts.test, known)),
            network={"vocabularies": [size], "character_vocabulary": 0, "word_length": 0},
            warnings=_warnings(valid, options.tokens, max_vocabulary),
        )

    def calibrate(self, state: Json, split: Split, outputs: list[Any]) -> Json:
        """The same state: nothing is calibrated."""
        del split, outputs
        return state

    def check_dataset(self, summary: Json, state: Json, parameters: GenerationParameters) -> list[Problem]:
        """Any document can be a prompt, but a batch is not streamed."""
        del summary, state
        return batch_stream_problems(stream=parameters.stream)

    def instances(self, arrays: Arrays, state: Json) -> GenerationInstances:
        """Each document as a prompt."""
        return GenerationInstances(Texts.from_arrays(arrays, TEXT), state["unit"])

    def preview(self, arrays: Arrays, bounds: RowBounds) -> PreviewRows:
        """The beginnings of the documents."""
        return preview_documents(arrays, bounds)

    def encode(
        self, state: Json, instances: Iterable[GenerationInstance], parameters: GenerationParameters
    ) -> list[Example]:
        """The end of each prompt as tokens, and the settings of decoding."""

        def encode_one(instance: GenerationInstance) -> Example:
            inputs = encode_prompt(state, instance.prompt)
            return Example(inputs, None, decoding_settings(instance.prompt, parameters))

        return encode_each(instances, encode_one)

    def detokenizer(self, state: Json, decoding: Json) -> TextDetokenizer:
        """A detokenizer for the tokens of one continuation, as they are generated."""
        return open_detokenizer(state, decoding)

    def decode(
        self,
        state: Json,
        examples: Sequence[Example],
        outputs: Sequence[DecodedTokens],
        parameters: GenerationParameters,
    ) -> list[Json]:
        """The continuation alone, up to a stop string or the end of the document."""
        del examples
        token_bytes = tokenizers.token_bytes(state["tokeniser"])
        return [_continuation(TextDetokenizer(token_bytes, parameters.stops), decoded) for decoded in outputs]

    def step_labels(self, state: Json, instance: GenerationInstance, example: Example) -> list[str]:
        """The token before a document, and the tokens of the prompt that are read."""
        del example
        return prompt_labels(state, instance.prompt)

    def score(self, state: Json, split: Split, outputs: list[Any]) -> tuple[Json, Json]:
        """Perplexity and bits of the network, and of counting characters (a 5-gram model).

        All bits are divided by the characters of the text, whatever the unit; words that a vocabulary lacks
        cost what spelling them costs, so that units can be compared.
        """
        encoded, data = _evaluation_data(split)
        characters = data.text.characters
        nats = float(sum(np.asarray(token_nats, np.float64).sum() for token_nats in outputs))
        unknown = unknown_texts(state["tokeniser"], data.text)
        comparable = nats + (SpellingModel(data.train).nats(unknown) if unknown else 0.0)
        metrics = metrics_per_token(nats, encoded.targets) | metrics_per_character(comparable, characters)
        ngrams = score_ngrams(data.train, data.text)
        baseline = metrics_per_character(ngrams.nats_with_unseen, characters)
        if state["unit"] == TokenUnit.CHARACTER:
            baseline |= metrics_per_token(ngrams.nats, ngrams.targets)
        return metrics, baseline


def _evaluation_data(split: Split) -> tuple[EncodedCorpus, GenerationEvaluationData]:
    """The tokens and the text of a held-out split of this task; raises `TypeError` for another split."""
    if isinstance(split, GenerationSplit) and split.data is not None:
        return split.encoded, split.data
    raise TypeError("only a held-out part of a text can be scored")


def _warnings(valid: EncodedCorpus, unit: str, max_vocabulary: int) -> list[str]:
    share = float((valid.tokens == UNKNOWN).mean())
    if share < MAX_UNKNOWN_SHARE:
        return []
    lacking = f"The vocabulary lacks {share:.1%} of the validation tokens"
    return [f"{lacking} ({unit}, {max_vocabulary:,} at most); `bpe` lacks none."]


def _continuation(detokenizer: TextDetokenizer, decoded: DecodedTokens) -> Json:
    """The prediction that the tokens of one continuation mean."""
    text = detokenizer.push(decoded.tokens.tolist()) + detokenizer.close()
    reason = "stop" if detokenizer.ended else decoded.note.get("finish_reason", "length")
    return {"text": text, "finish_reason": reason, "tokens": detokenizer.tokens}


TASK = Generation()
