"""Predictions as people read them, each beside what is known to be right."""

from collections.abc import Sequence

from rich.text import Text

from app.typedefs import Json

RIGHT, WRONG, MARK = "green", "red", "bold cyan"


def label(row: Json, prediction: Json) -> Text:
    """`pos 0.93  the text`, green when people said the same."""
    found, wanted = prediction["label"], row["label"]
    said = f"{found} {prediction['scores'][found]:.2f}"
    told = "" if found == wanted else f"  (people say {wanted})"
    return Text.assemble((f"  {said:<9}", RIGHT if found == wanted else WRONG), row["text"], (told, "dim"))


def entities(row: Json, prediction: Json) -> Text:
    """The sentence with `[entity type]` marked, and below it what people marked if that is something else."""
    shown = Text.assemble("  ", marked(prediction["tokens"], prediction["tags"]))
    if prediction["tags"] != row["tags"]:
        shown.append("\n    people: ", "dim").append(marked(row["tokens"], row["tags"]))
    return shown


def translation(row: Json, prediction: Json) -> Text:
    """The source, its translation by the network, and that by people."""
    lines = (("source", row["source"]), ("network", prediction["text"]), ("people", row["target"]))
    parts = [(f"  {name:<9}{text}\n", MARK if name == "network" else "") for name, text in lines]
    return Text.assemble(*parts)


def marked(tokens: Sequence[str], tags: Sequence[str]) -> Text:
    """Tokens with the entities of BIO tags in brackets."""
    found = Text()
    for place, (token, tag) in enumerate(zip(tokens, tags, strict=True)):
        role, _, kind = tag.partition("-")
        begins = role == "B" or (role == "I" and not _goes_on(tags, place, kind))
        ends = tag != "O" and (place + 1 == len(tags) or tags[place + 1] != f"I-{kind}")
        found.append(" " if place else "").append("[" if begins else "", MARK)
        found.append(token, "" if tag == "O" else MARK)
        found.append(f" {kind}]" if ends else "", MARK)
    return found


def _goes_on(tags: Sequence[str], place: int, kind: str) -> bool:
    return place > 0 and tags[place - 1] in (f"B-{kind}", f"I-{kind}")
