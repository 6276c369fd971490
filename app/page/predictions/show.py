"""Shows a prediction by the fields that it has."""

from collections.abc import Callable

from markupsafe import Markup

from app.page import markup
from app.page.predictions.forecasts import show_forecast
from app.page.predictions.labels import show_scores
from app.page.predictions.notes import show_roll
from app.page.predictions.tags import show_tags
from app.page.predictions.texts import show_text, show_transcript
from app.typedefs import Json

Show = Callable[[Json, Json], None]

# The first whose fields a prediction has.
RENDERERS: tuple[tuple[frozenset[str], Show], ...] = (
    (frozenset({"median", "quantiles"}), show_forecast),
    (frozenset({"label", "scores"}), show_scores),
    (frozenset({"tokens", "tags"}), show_tags),
    (frozenset({"notes"}), show_roll),
    (frozenset({"text", "words"}), show_transcript),
    (frozenset({"text"}), show_text),
)


def show_warnings(prediction: Json) -> None:
    """What the service noticed about the instance of a prediction."""
    for warning in prediction.get("warnings", ()):
        markup.show(Markup("<p class='warning'>{}</p>").format(warning))


def show_prediction(prediction: Json, instance: Json) -> None:
    """Show a prediction beside the instance that it is for, with its warnings."""
    show_warnings(prediction)
    for fields, show in RENDERERS:
        if fields <= prediction.keys():
            show(prediction, instance)
            return
    markup.show(markup.facts(markup.flatten(prediction).items()))
