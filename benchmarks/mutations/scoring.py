"""Faults in the figures by which models are compared, and in which weights are kept."""

from benchmarks.mutations.mutation import Mutation
from benchmarks.mutations.resume import AVERAGING, FIT, TRAINING_BATCHES

FORECASTS = "app/tasks/forecasting/metrics.py"
GUARD, GUARD_TESTS = "app/services/models/guard.py", ("tests/app/services/models/test_guard.py",)
RESAMPLING = "app/tasks/evaluation/resampling.py"
ORIGINS = "app/tasks/forecasting/evaluation/origins.py"
TAGS = "app/tasks/tagging/metrics.py"
COUNTING = "app/tasks/tagging/baseline.py"
LABELS = "app/tasks/shared/label_metrics.py"
LIKELIHOOD = "app/tasks/generation/metrics.py"
TRANSLATIONS = "app/tasks/translation/metrics.py"
TRANSCRIPTS = "app/tasks/speech/metrics.py"
CONSTANT = "app/tasks/speech/baseline.py"
FORECAST_TESTS = ("tests/app/tasks/forecasting/test_metrics.py",)
TAG_TESTS = (
    "tests/app/tasks/tagging/test_metrics.py", "tests/app/tasks/tagging/test_evaluation.py",
)  # fmt: skip
LABEL_TESTS = (
    "tests/app/tasks/shared/test_label_metrics.py",
    "tests/app/tasks/shared/test_evaluate_labels.py",
)
SPEECH_TESTS = ("tests/app/tasks/speech/test_metrics.py",)
FIT_TESTS = ("tests/workers/training/test_fit.py",)

SCORING_FAULTS = (
    Mutation("sMAPE is halved", FORECASTS, "200 * np.abs", "100 * np.abs", FORECAST_TESTS),
    Mutation(
        "MASE is scaled at lag 1", FORECASTS, "for lag in (season, 1):", "for lag in (1, season):",
        FORECAST_TESTS,
    ),
    Mutation(
        "MASE is not scaled", FORECASTS,
        "np.abs(actual - point), 0.0)) / units", "np.abs(actual - point), 0.0)) / counts[rows]",
        FORECAST_TESTS,
    ),
    Mutation(
        "a quantile loss has the wrong sign", FORECASTS,
        "(levels - 1) * error", "(1 - levels) * error", FORECAST_TESTS,
    ),
    Mutation(
        "one bound is enough for coverage", FORECASTS,
        "(actual >= quantiles[..., 0]) & (", "(actual >= quantiles[..., 0]) | (", FORECAST_TESTS,
    ),
    Mutation(
        "the naive forecast is of the phase after", FORECASTS,
        "phases[:, np.arange(horizon) % season]", "phases[:, (1 + np.arange(horizon)) % season]",
        FORECAST_TESTS,
    ),
    Mutation(
        "the worst season is taken", FORECASTS, "np.argmin(scores)", "np.argmax(scores)", FORECAST_TESTS
    ),
    Mutation(
        "precision and recall are exchanged", TAGS,
        "total = _precision_recall_f1(len(correct), len(actual), len(expected))",
        "total = _precision_recall_f1(len(correct), len(expected), len(actual))", TAG_TESTS,
    ),
    Mutation(
        "an entity of another type is right", TAGS,
        "* types + spans[:, 2]", "* types + 1", TAG_TESTS,
    ),
    Mutation(
        "an entity with another end is right", TAGS,
        "+ spans[:, 1]) * types", "+ 0 * spans[:, 1]) * types", TAG_TESTS,
    ),
    Mutation(
        "seen words count as unseen", TAGS,
        "is_unseen = ~np.isin(", "is_unseen = np.isin(", TAG_TESTS,
    ),
    Mutation(
        "the baseline takes the rarest tag", COUNTING,
        "np.lexsort((firsts, -counts,", "np.lexsort((firsts, counts,",
        ("tests/app/tasks/tagging/test_baseline.py",),
    ),
    Mutation(
        "a log loss is a sum", LABELS,
        "np.maximum(right, 1e-12)).mean()", "np.maximum(right, 1e-12)).sum()", LABEL_TESTS,
    ),
    Mutation(
        "confidence is not compared with accuracy", LABELS,
        "np.bincount(bins, correct, CALIBRATION_BINS) - np.bincount(bins, confidence, CALIBRATION_BINS)",
        "np.bincount(bins, correct, CALIBRATION_BINS)", LABEL_TESTS,
    ),
    Mutation(
        "a temperature multiplies", LABELS,
        "np.float64) / temperature", "np.float64) * temperature", LABEL_TESTS,
    ),
    Mutation(
        "macro F1 counts each label by its examples", LABELS,
        'average="macro"', 'average="weighted"', LABEL_TESTS,
    ),
    Mutation(
        "bits are nats", LIKELIHOOD,
        "bits = round(mean / math.log(2), 6)", "bits = round(mean, 6)",
        ("tests/app/tasks/generation/test_metrics.py",),
    ),
    Mutation(
        "perplexity is of the whole text", LIKELIHOOD,
        "mean = nats / tokens", "mean = nats",
        ("tests/app/tasks/generation/test_metrics.py",),
    ),
    Mutation(
        "every translation is exact", TRANSLATIONS,
        "exact = sum(text == reference", "exact = sum(text is not reference or True",
        ("tests/app/tasks/translation/test_metrics.py",),
    ),
    Mutation(
        "words that were added are no errors", TRANSCRIPTS,
        '"insertions": words}', '"insertions": 0}', SPEECH_TESTS,
    ),
    Mutation(
        "the constant transcript is the worst", CONSTANT,
        "return min(candidates,", "return max(candidates,", ("tests/app/tasks/speech",),
    ),
    Mutation(
        "a validation loss is that of the last batch", FIT,
        "        total += float(loss)\n", "        total = float(loss)\n", FIT_TESTS,
    ),
    Mutation(
        "the worst weights are kept", AVERAGING, "loss < self.loss:", "loss > self.loss:", FIT_TESTS
    ),
    Mutation(
        "a training stops one epoch late", AVERAGING,
        ">= self._patience", "> self._patience", FIT_TESTS,
    ),
    Mutation(
        "the validation loss is of the last weights, not the averaged ones", FIT,
        'entry["valid_loss"] = validation.loss(loop.average.model, loop.device)',
        'entry["valid_loss"] = validation.loss(loop.model, loop.device)', FIT_TESTS,
    ),
    Mutation(
        "a row counts by its length", TRAINING_BATCHES,
        "batch.weights.max(axis=1, initial=0) > 0 if row_loss else batch.weights", "batch.weights",
        ("tests/workers/training/test_batches.py", *FIT_TESTS),
    ),
    Mutation(
        "a guard lets a worse version pass", GUARD,
        "return bool(best < 0 if self.higher_is_better else best > 0)", "return False", GUARD_TESTS,
    ),
    Mutation(
        "a guard takes less for better", GUARD,
        "best < 0 if self.higher_is_better", "best > 0 if self.higher_is_better", GUARD_TESTS,
    ),
    Mutation(
        "versions are compared on different resamples", RESAMPLING,
        "np.random.default_rng([self._seed, block])", "np.random.default_rng()",
        ("tests/app/tasks/evaluation",),
    ),
    Mutation(
        "a forecast is evaluated on what it was made from", ORIGINS,
        "ends[chosen] = self._data", "ends[chosen] = 1 + self._data",
        ("tests/app/tasks/forecasting/test_evaluation.py",),
    ),
)  # fmt: skip
