"""What the metrics of versions mean, and whether a network beats its baseline."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from markupsafe import Markup

from app.page import markup
from app.typedefs import Json


class Better(StrEnum):
    """Which values of a metric are better."""

    HIGHER = "higher is better"
    LOWER = "lower is better"
    NEITHER = ""


@dataclass(frozen=True)
class Metric:
    """A metric for people."""

    title: str
    description: str
    better: Better = Better.NEITHER


_F1 = "the harmonic mean of precision and recall, from 0 to 1"
METRICS: Mapping[str, Metric] = {
    "smape": Metric("sMAPE", "the error in percent of the sizes, up to 200", Better.LOWER),
    "mase": Metric("MASE", "the error in units of a seasonal naive forecast's on the past", Better.LOWER),
    "pinball": Metric("pinball loss", "the error of all quantiles, on the scale of the series", Better.LOWER),
    "coverage": Metric("coverage", "the share of values within the outermost quantiles"),
    "bias": Metric("bias", "the mean signed error on the scale of the series; best near 0"),
    "f1": Metric("F1", f"of whole entities: {_F1}", Better.HIGHER),
    "precision": Metric("precision", "the share of what was marked that is right", Better.HIGHER),
    "recall": Metric("recall", "the share of what is there that was marked", Better.HIGHER),
    "bleu": Metric("BLEU", "how many runs of words are those of the reference, from 0 to 100", Better.HIGHER),
    "chrf": Metric("chrF", "the same of characters", Better.HIGHER),
    "exact_match": Metric("exact match", "the share of answers that equal the reference", Better.HIGHER),
    "length_ratio": Metric("length ratio", "the length of the answers over the references'; best near 1"),
    "bits_per_character": Metric(
        "bits per character", "how surprising the text is to the model", Better.LOWER
    ),
    "perplexity": Metric("perplexity", "among how many tokens the model wavers, on average", Better.LOWER),
    "bits_per_token": Metric("bits per token", "how surprising a token is to the model", Better.LOWER),
    "nats_per_step": Metric(
        "nats per step", "how surprising a step of the music is to the model", Better.LOWER
    ),
    "nats_per_event": Metric(
        "nats per event", "how surprising an event of the music is to the model", Better.LOWER
    ),
    "wer": Metric(
        "word error rate", "words wrong, missing or too many, in percent of the words spoken", Better.LOWER
    ),
    "cer": Metric("character error rate", "the same of characters", Better.LOWER),
    "sentence_error_rate": Metric(
        "sentence error rate", "sentences with any error, in percent", Better.LOWER
    ),
    "accuracy": Metric("accuracy", "the share of answers that are right, from 0 to 1", Better.HIGHER),
    "accuracy_unseen_words": Metric(
        "accuracy of unseen words", "the same of words that training had not", Better.HIGHER
    ),
    "macro_f1": Metric("macro F1", f"the mean over labels of {_F1}", Better.HIGHER),
    "log_loss": Metric("log loss", "how surprising the right labels are to the model", Better.LOWER),
    "calibration_error": Metric("calibration error", "how far probabilities are from reality", Better.LOWER),
    "calibration_error_before": Metric(
        "calibration error before", "the same before calibration", Better.LOWER
    ),
}
# The first that a version has is the main metric of its task.
MAIN_METRICS = ("smape", "f1", "bleu", "bits_per_character", "perplexity", "nats_per_step", "wer", "accuracy")


def explanations(names: Iterable[str]) -> Markup:
    """The metrics of these names that are known, each in a few words; empty without any."""
    pairs = [(name, METRICS[name]) for name in names if name in METRICS]
    if not pairs:
        return Markup("")
    lines = [
        (
            name,
            f"{metric.title}: {metric.description}" + (f"; {metric.better}" if metric.better else ""),
        )
        for name, metric in pairs
    ]
    return Markup("<details><summary>What the metrics mean</summary>{}</details>").format(markup.facts(lines))


def verdict(metrics: Json, baseline: Json) -> str:
    """Whether the network beats the baseline by the main metric, in a sentence; empty without figures."""
    name = next((name for name in MAIN_METRICS if metrics.get(name) is not None), "")
    value, other = metrics.get(name), baseline.get(name)
    if not name or value is None or other is None:
        return ""
    metric = METRICS[name]
    figures = f"{markup.number(value)} against {markup.number(other)} ({metric.better})"
    if value == other:
        outcome = "is as good as the baseline"
    elif (value > other) == (metric.better is Better.HIGHER):
        outcome = "beats the baseline"
    else:
        outcome = "does not beat the baseline"
    return f"By {metric.title}, the main metric here, the network {outcome}: {figures}."
