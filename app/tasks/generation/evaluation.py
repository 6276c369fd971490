"""Evaluation of a language model: how many bits it needs for the characters of passages.

A passage is read after the characters before it, as a prompt would be. All versions have the same passages,
whatever their tokens are, and words that a vocabulary lacks cost what spelling them costs, so that bits per
character can be compared.
"""

import math
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.arrays import Array, Arrays, Ints
from app.errors import Problem
from app.tasks.contract import END, UNKNOWN, Instances
from app.tasks.evaluation.contract import (
    EvaluationSettings,
    Predict,
    ScoredWindow,
    TrainedVersion,
    TrainingData,
)
from app.tasks.evaluation.examples import ExampleEvaluation
from app.tasks.evaluation.picked import needed, without_windows
from app.tasks.evaluation.resampling import ratio
from app.tasks.evaluation.sums import SumTally
from app.tasks.generation.baseline import CODE_POINTS, MAX_TRAIN_CHARS, Alphabet
from app.tasks.generation.corpus import CorpusPart, iterate_blocks, split_corpus
from app.tasks.generation.inference import GenerationParameters
from app.tasks.generation.metrics import MAX_TOKEN_NATS
from app.tasks.shared import tokenizers
from app.tasks.shared.ngrams import NGRAM, NGRAM_ORDER, NGramModel
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import SPLIT, TEST
from app.tasks.shared.text_checks import TEXT
from app.typedefs import Json

PASSAGE_CHARS = 1_000  # at most
CONTEXT_CHARS = 1_000  # that are read before a passage
SHOWN_CHARS = 200  # of a passage, in the result
UNKNOWN_NATS = math.log(CODE_POINTS)  # of a character that the vocabulary lacks
NO_PARAMETERS = "what is there is scored, nothing is generated: leave them out"


def _check(
    summary: Json,
    states: Sequence[Json],
    parameters: GenerationParameters,
    settings: EvaluationSettings,
) -> list[Problem]:
    """Refuse parameters of generation, and texts without a character."""
    del states, settings
    empty = [] if summary["characters"] else [Problem("/dataset", "its texts have no characters")]
    unused = [] if parameters == GenerationParameters() else [Problem("/parameters", NO_PARAMETERS)]
    return empty + unused


def _evaluated_set(arrays: Arrays, versions: Sequence[TrainedVersion]) -> "GenerationSet":
    """The test part of the first version's split if it was trained on these texts, else marked ones or all.

    Versions whose split has another test part may have been trained on some of it: then there is a warning.
    """
    texts, codes = Texts.from_arrays(arrays, TEXT), np.array(arrays[SPLIT])
    seeds = list(dict.fromkeys(one.seed for one in versions if one.is_known))
    if seeds:
        part, *others = (split_corpus(texts, codes, seed).test for seed in seeds)
        differ = [seed for seed, other in zip(seeds[1:], others, strict=True) if other != part]
        return GenerationSet(part, [_seen(differ, seeds[0])] if differ else [])
    rows = np.flatnonzero(codes == TEST) if (codes == TEST).any() else np.arange(len(codes))
    return GenerationSet(CorpusPart([unicodedata.normalize("NFC", text) for text in texts.pick(rows)]))


def _seen(seeds: Sequence[int], first: int) -> str:
    listed = ", ".join(map(str, seeds))
    return (
        f"Versions of seed {listed} may have been trained on what is evaluated, the test part of seed {first}"
        ". Mark a test part in the data set, or evaluate on other texts."
    )


@dataclass(frozen=True)
class Passage:
    """A part of a document, and the characters before it."""

    context: str
    text: str
    begins: bool  # whether its document does, with the context
    ends: bool  # whether its document does


class GenerationSet:
    """Passages of texts, see `EvaluationSet` and `LikelihoodSet`."""

    higher_is_better: Mapping[str, bool] = {
        "bits_per_character": False, "perplexity": False, "bits_per_token": False,
    }  # fmt: skip
    unit = "passage"
    training_arrays = staticmethod(without_windows)

    def __init__(self, part: CorpusPart, warnings: Sequence[str] = ()) -> None:
        self._part = part
        self._cuts = [np.cumsum([0, *map(len, iterate_blocks(one, PASSAGE_CHARS))]) for one in part.texts]
        self._firsts = [0, *np.cumsum([len(cuts) - 1 for cuts in self._cuts]).tolist()]
        self.windows = [range(self._firsts[-1])]
        self.warnings = list(warnings)

    def units(self, examples: Sequence[int]) -> Ints:
        """Each passage is one."""
        return np.asarray(examples, np.int64)

    def identity(self, example: int) -> Json:
        """The passage's number, its document and its first character."""
        document, start, _ = self._locate(example)
        return {"example": example, "window": None, "document": document, "start": start}

    def _locate(self, example: int) -> tuple[int, int, int]:
        """Document, first character, and the character after the last one."""
        document = bisect_right(self._firsts, example) - 1
        start, stop = self._cuts[document][example - self._firsts[document] :][:2].tolist()
        return document, start, stop

    def passage(self, example: int) -> Passage:
        """A passage by its number."""
        document, start, stop = self._locate(example)
        text = self._part.texts[document]
        first = max(0, start - CONTEXT_CHARS)
        last = document < len(self._part.texts) - 1 or self._part.ended
        return Passage(text[first:start], text[start:stop], first == 0, last and stop == len(text))

    def instances(self, state: Json) -> Instances:
        """Nothing is generated; raises `ValueError`."""
        del state
        raise ValueError("passages are scored, not generated")

    def scored(self, state: Json, example: int) -> list[ScoredWindow]:
        """The tokens of a passage behind those of its context."""
        passage, tokenizer = self.passage(example), state["tokeniser"]
        before = [END] * passage.begins + list(tokenizers.encode(tokenizer, passage.context).ids)
        ids = [*tokenizers.encode(tokenizer, passage.text).ids, *[END] * passage.ends]
        return [ScoredWindow(np.array([*before, *ids], np.int64), len(before) - 1)]

    def likelihood(self, state: Json, example: int, nats: Sequence[Array]) -> Json:
        """Nats of all tokens, and what spelling the unknown ones costs."""
        passage = self.passage(example)
        tokens = tokenizers.encode(state["tokeniser"], passage.text)
        unknown = np.flatnonzero(np.array(tokens.ids, np.int64) == UNKNOWN).tolist()
        characters = sum(tokens.spans[index][1] - tokens.spans[index][0] for index in unknown)
        total = float(sum(part.sum() for part in nats))
        return {"nats": total, "tokens": sum(map(len, nats)), "unknown_nats": characters * UNKNOWN_NATS}

    def actual(self, example: int) -> Json:
        """The passage: how long it is, and how it begins."""
        text = self.passage(example).text
        return {"characters": len(text), "text": text[:SHOWN_CHARS]}

    def baseline(self, name: str, training: TrainingData | None) -> Predict:
        """A 5-gram model of the training characters."""
        training = needed(training, name)
        known = training.arrays
        parts = split_corpus(Texts.from_arrays(known, TEXT), np.array(known[SPLIT]), training.seed)
        model = CharacterModel(parts.train)
        return lambda examples: [model.score(self.passage(example)) for example in examples]

    def errors(self, example: int, prediction: Json) -> Json:
        """Bits per character of the passage."""
        nats = prediction["nats"] + prediction["unknown_nats"]
        return {"bits_per_character": nats / math.log(2) / max(len(self.passage(example).text), 1)}

    def tally(self, resamples: int) -> SumTally:
        """See `EvaluationSet`."""
        return SumTally(resamples, 4, _figures, _metrics)


class CharacterModel:
    """The baseline: counts of characters after the four before them."""

    def __init__(self, train: CorpusPart) -> None:
        train = train.last(MAX_TRAIN_CHARS)
        self._alphabet = Alphabet(train)
        self._model = NGramModel(self._alphabet.encode_part(train), self._alphabet.size)

    def score(self, passage: Passage) -> Json:
        """The same as the likelihood of a network; a character is no token of one."""
        lead = np.zeros(NGRAM_ORDER - 1, np.int64)
        before = np.concatenate([lead, self._alphabet.encode(passage.context)])[-len(lead) :]
        end = np.zeros(int(passage.ends), np.int64)
        numbers = np.concatenate([self._alphabet.encode(passage.text), end])
        unknown = int((numbers == self._alphabet.size - 1).sum())
        nats = float(self._model.nats(np.concatenate([before, numbers])).sum())
        return {"nats": nats, "tokens": 0, "unknown_nats": unknown * UNKNOWN_NATS}


def _figures(line: Json) -> list[float]:
    prediction = line["prediction"]
    counted = prediction["tokens"] > 0
    nats = prediction["nats"]
    return [
        nats + prediction["unknown_nats"],
        line["actual"]["characters"],
        nats if counted else 0.0,
        prediction["tokens"],
    ]


def _metrics(sums: Array) -> dict[str, Array]:
    """The metrics of sums (resamples, figures); those per token only where there are tokens."""
    all_nats, characters, nats, tokens = sums.T
    metrics = {"bits_per_character": ratio(all_nats, characters) / math.log(2)}
    if tokens[0]:
        mean = ratio(nats, tokens)
        metrics["perplexity"], metrics["bits_per_token"] = (
            np.exp(np.minimum(mean, MAX_TOKEN_NATS)),
            mean / math.log(2),
        )
    return metrics


EVALUATION = ExampleEvaluation((NGRAM,), _check, _evaluated_set)
