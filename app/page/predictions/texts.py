"""Texts: generated, translated with their attention, or heard with the times of words."""

from collections.abc import Sequence

from markupsafe import Markup

from app.page import markup
from app.typedefs import Json

MAX_PIECES = 60  # of each side of an attention's table


def show_text(prediction: Json, instance: Json) -> None:
    """The text behind its prompt, if it has one, and what else is known of it."""
    prompt = instance.get("prompt", "")
    markup.show(written_text(prompt, prediction["text"]))
    if attention := prediction.get("attention"):
        markup.show(attention_table(attention["source"], attention["target"], attention["weights"]))
    rest = {
        name: value for name, value in prediction.items() if name not in ("text", "attention", "warnings")
    }
    if rest:
        markup.show(markup.facts(rest.items()))


def written_text(prompt: str, text: str) -> Markup:
    """A text that continues a prompt."""
    return Markup("<p class='written'><span class='prompt'>{}</span>{}</p>").format(prompt, text)


def attention_table(
    source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]]
) -> Markup:
    """For each piece of the translation (a row) the weights of those of the source."""
    rows = [
        (piece, *(_weight(weight) for weight in row[:MAX_PIECES]))
        for piece, row in list(zip(target, weights, strict=False))[:MAX_PIECES]
    ]
    caption = (
        "Attention: where each piece of the translation (row) looked at the source (columns), in per cent"
    )
    return markup.table(("", *source[:MAX_PIECES]), rows, caption, numeric=True)


def _weight(weight: float) -> Markup:
    share = round(100 * weight)
    return Markup("<span class='shade' style='--share: {}%'>{}</span>").format(share, share or "")


def show_transcript(prediction: Json, instance: Json) -> None:
    """What was said, and when each word: a word plays the recording from there."""
    del instance
    markup.show(Markup("<p class='answer'>{}</p>").format(prediction["text"] or "Nothing was heard."))
    words = prediction["words"]
    if not words:
        return
    buttons = Markup("").join(
        Markup(
            "<li><button type='button' data-start='{}' onclick='recurra.seek(this)'>{}"
            "<span>{:.2f}–{:.2f} s</span></button></li>"
        ).format(word["start"], word["word"], word["start"], word["end"])
        for word in words
    )
    markup.show(Markup("<ol class='words' aria-label='Words with their times'>{}</ol>").format(buttons))
    rows = [(word["word"], word["start"], word["end"], word.get("confidence")) for word in words]
    table = markup.table(("Word", "From (s)", "To (s)", "Confidence"), rows, "Words", numeric=True)
    markup.show(Markup("<details><summary>In numbers</summary>{}</details>").format(table))
    rest = {name: value for name, value in prediction.items() if name not in ("text", "words", "warnings")}
    markup.show(markup.facts(rest.items()))
