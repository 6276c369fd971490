"""Evaluation of translations: BLEU, chrF and exact matches, from counts that are added up over the pairs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module  # only a worker that evaluates pays for the library

import numpy as np

from app.arrays import Array, Arrays
from app.errors import Problem
from app.tasks.contract import Instances
from app.tasks.evaluation.contract import EvaluationSettings, Predict, TrainedVersion, TrainingData
from app.tasks.evaluation.examples import ExampleEvaluation
from app.tasks.evaluation.picked import PickedInstances, PickedRows, lacks, needed, without_windows
from app.tasks.evaluation.resampling import ratio
from app.tasks.evaluation.rows import evaluated_rows, learned_rows
from app.tasks.evaluation.sums import SumTally
from app.tasks.shared.ragged import Texts
from app.tasks.translation.baseline import learn_lexicon
from app.tasks.translation.instances import TranslationInstances
from app.tasks.translation.options import TranslationParameters
from app.tasks.translation.reading import SOURCE, Pairs
from app.typedefs import Json

DICTIONARY = "dictionary"
BLEU_ORDER, CHRF_ORDER, CHRF_BETA = 4, 6, 2


def _check(
    summary: Json,
    states: Sequence[Json],
    parameters: TranslationParameters,
    settings: EvaluationSettings,
) -> list[Problem]:
    """Refuse sources without targets."""
    del states, parameters, settings
    # Data sets of earlier versions say only whether they can be trained on.
    has_targets = summary.get("answers", summary.get("trainable", True))
    return [] if has_targets else lacks("its sources have no targets")


class TranslationSet:
    """Pairs of texts, see `EvaluationSet`."""

    higher_is_better: Mapping[str, bool] = {"bleu": True, "chrf": True, "exact_match": True}
    unit = "example"
    training_arrays = staticmethod(without_windows)

    def __init__(self, arrays: Arrays, versions: Sequence[TrainedVersion]) -> None:
        self._pairs = Pairs.from_arrays(arrays)
        self._sources = Texts.from_arrays(arrays, SOURCE)
        self._picked = PickedRows(evaluated_rows(self._pairs.splits, versions))
        self.windows, self.units = self._picked.windows, self._picked.units
        self.identity = self._picked.identity
        self.warnings: list[str] = []

    def instances(self, state: Json) -> Instances:
        """See `EvaluationSet`."""
        del state
        return PickedInstances(TranslationInstances(self._sources), self._picked.rows)

    def actual(self, example: int) -> str:
        """The target."""
        return self._pairs.targets[int(self._picked.rows[example])]

    def baseline(self, name: str, training: TrainingData | None) -> Predict:
        """The dictionary of the training pairs."""
        training = needed(training, name)
        pairs = Pairs.from_arrays(training.arrays)
        lexicon = learn_lexicon(pairs.sources, pairs.targets, learned_rows(pairs.splits, training.seed))
        sources, rows = self._sources, self._picked.rows
        return lambda examples: [
            {"text": lexicon.translate(sources[int(rows[example])])} for example in examples
        ]

    def errors(self, example: int, prediction: Json) -> Json:
        """Whether the translation is the target, and the chrF of this pair alone."""
        actual = self.actual(example)
        counts = np.array([character_counts(prediction["text"], actual)], np.float64)
        chrf = round(float(chrf_scores(counts)[0]), 4)
        return {"exact_match": int(prediction["text"] == actual), "chrf": chrf}

    def tally(self, resamples: int) -> SumTally:
        """See `EvaluationSet`."""
        bleu = import_module("sacrebleu").BLEU(force=True)

        def figures(line: Json) -> list[float]:
            text, actual = line["prediction"]["text"], line["actual"]
            score = bleu.corpus_score([text], [[actual]])
            words = [*score.counts, *score.totals, score.sys_len, score.ref_len]
            return [1.0, line["errors"]["exact_match"], *words, *character_counts(text, actual)]

        return SumTally(resamples, 2 + 2 * BLEU_ORDER + 2 + 3 * CHRF_ORDER, figures, _metrics)


def _metrics(sums: Array) -> dict[str, Array]:
    """The metrics in per cent, exact matches as a share, of sums (resamples, figures)."""
    words = sums[:, 2 : 4 + 2 * BLEU_ORDER]
    return {
        "bleu": bleu_scores(words),
        "chrf": chrf_scores(sums[:, 4 + 2 * BLEU_ORDER :]),
        "exact_match": ratio(sums[:, 1], sums[:, 0]),
    }


def bleu_scores(counts: Array) -> Array:
    """BLEU in per cent (resamples,) of counts (resamples, 10), as sacrebleu computes it of a corpus.

    They are matches and totals of each order, and the lengths of translations and references. An order
    without a match is smoothed exponentially (Post 2018).
    """
    matches, totals = counts[:, :BLEU_ORDER], counts[:, BLEU_ORDER : 2 * BLEU_ORDER]
    length, expected = counts[:, -2], counts[:, -1]
    halvings = np.cumsum((matches == 0) & (totals > 0), axis=1)  # (resamples, orders)
    smoothed = np.where(matches == 0, 0.5**halvings, matches)
    precision = np.where(totals > 0, smoothed / np.where(totals > 0, totals, 1.0), 0.0)
    has_all = (totals > 0).all(axis=1) & (matches > 0).any(axis=1)
    logs = np.log(np.where(precision > 0, precision, 1.0)).mean(axis=1)
    brevity = np.where(length < expected, np.exp(1 - expected / np.maximum(length, 1e-9)), 1.0)
    return np.where(has_all, 100 * brevity * np.exp(logs), 0.0)


def character_counts(text: str, expected: str) -> list[int]:
    """For each order of character n-grams: those of a text, those expected, and those in both."""
    sides = ["".join(one.split()) for one in (text, expected)]
    counts: list[int] = []
    for order in range(1, CHRF_ORDER + 1):
        ours, theirs = (
            Counter(side[start : start + order] for start in range(len(side) - order + 1)) for side in sides
        )
        counts += [ours.total(), theirs.total(), (ours & theirs).total()]
    return counts


def chrf_scores(counts: Array) -> Array:
    """chrF2 in per cent (resamples,) of counts (resamples, 18), see `character_counts` (Popović 2015)."""
    ours, theirs, both = (counts[:, part::3] for part in range(3))  # (resamples, orders)
    counted = (ours > 0) & (theirs > 0)
    orders = np.maximum(counted.sum(axis=1), 1)
    precision, recall = (
        np.where(counted, both / np.where(counted, total, 1.0), 0.0).sum(axis=1) / orders
        for total in (ours, theirs)
    )
    return 100 * np.nan_to_num(
        ratio((1 + CHRF_BETA**2) * precision * recall, CHRF_BETA**2 * precision + recall)
    )


EVALUATION = ExampleEvaluation((DICTIONARY,), _check, TranslationSet)
