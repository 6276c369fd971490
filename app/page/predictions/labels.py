"""A label with the probabilities of all, and matrices of labels."""

from collections.abc import Sequence

from markupsafe import Markup

from app.page import charts, markup
from app.typedefs import Json

MAX_BARS = 12
MAX_SHADED = 30  # labels of a matrix


def show_scores(prediction: Json, instance: Json) -> None:
    """The label, and bars of the most probable ones."""
    del instance
    markup.show(Markup("<p class='answer'>{}</p>").format(prediction["label"]))
    scores = dict(list(prediction["scores"].items())[:MAX_BARS])
    described = ", ".join(f"{label} {score:.0%}" for label, score in scores.items())
    charts.bar_chart(f"Probabilities: {described}", scores, limit=1.0)


def confusion_matrix(labels: Sequence[str], rows: Sequence[Sequence[int]]) -> Markup:
    """How often each label was taken for each, shaded by the share of its row."""
    shown = list(labels)[:MAX_SHADED]
    body = []
    for label, counts in zip(shown, rows, strict=False):
        total = max(sum(counts), 1)
        body.append((label, *(_shaded(count, count / total) for count in counts[:MAX_SHADED])))
    caption = "Confusion matrix: rows are what it is, columns what it was taken for"
    return markup.table(("is ↓, taken for →", *shown), body, caption, numeric=True)


def _shaded(count: int, share: float) -> Markup:
    return Markup("<span class='shade' style='--share: {}%'>{}</span>").format(
        round(100 * share), f"{count:,}"
    )
