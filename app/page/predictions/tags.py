"""Entities marked in a text, or a tag under each word."""

from collections.abc import Sequence

from markupsafe import Markup

from app.page import markup
from app.typedefs import Json

KIND_COLORS = 6  # that the style has for kinds of entities


def show_tags(prediction: Json, instance: Json) -> None:
    """The text with its entities, and the tag of each word."""
    tokens, tags = prediction["tokens"], prediction["tags"]
    entities = prediction.get("entities", [])
    text = instance.get("text") or " ".join(tokens)
    if entities:
        markup.show(marked_text(text, entities))
        rows = [(entity["type"], entity["text"], f"{entity['start']}–{entity['end']}") for entity in entities]
        markup.show(markup.table(("Kind", "Text", "Characters"), rows, "Entities"))
    else:
        markup.show(Markup("<p class='note'>No entities are marked in this text.</p>"))
    tagged = tagged_words(tokens, tags)
    markup.show(
        tagged if not entities else Markup("<details><summary>Tags</summary>{}</details>").format(tagged)
    )


def marked_text(text: str, entities: Sequence[Json]) -> Markup:
    """A text in which entities are marked with their kinds."""
    kinds = sorted({entity["type"] for entity in entities})
    parts, place = [], 0
    for entity in sorted(entities, key=lambda entity: int(entity["start"])):
        start, end = int(entity["start"]), int(entity["end"])
        if start < place:
            continue
        color = kinds.index(entity["type"]) % KIND_COLORS
        parts.append(Markup("{}<mark class='kind-{}'>{}<span class='kind'>{}</span></mark>").format(
            text[place:start], color, text[start:end], entity["type"]
        ))  # fmt: skip
        place = end
    parts.append(Markup("{}").format(text[place:]))
    return Markup("<p class='marked'>{}</p>").format(Markup("").join(parts))


def tagged_words(tokens: Sequence[str], tags: Sequence[str], actual: Sequence[str] = ()) -> Markup:
    """Words with their tags below; where the actual tag is another one, that too."""
    words = []
    for index, (token, tag) in enumerate(zip(tokens, tags, strict=False)):
        right = actual[index] if index < len(actual) else tag
        note = tag if right == tag else f"{tag} (is {right})"
        words.append(Markup("<span class='word {}'>{}<span class='tag'>{}</span></span> ").format(
            "" if right == tag else "wrong", token, note
        ))  # fmt: skip
    return Markup("<p class='tagged'>{}</p>").format(Markup("").join(words))
