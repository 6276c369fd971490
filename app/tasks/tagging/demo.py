"""The demo of tagging: names in tweets."""

from collections.abc import Sequence

from app.tasks.demonstration import Chart, Demo, Question, StyledText
from app.tasks.shared.demo_questions import ask_test_rows
from app.typedefs import Json


def has_several_entity_types(row: Json) -> bool:
    """Whether people marked entities of two types or more."""
    return len({tag for tag in row["tags"] if tag.startswith("B-")}) > 1


def render(question: Question, prediction: Json) -> list[StyledText | Chart]:
    """The sentence with `[entity type]` marked, and below it the marks by people where they are others."""
    tokens, tags = question.example["tokens"], question.example["tags"]
    texts = [StyledText("  "), *mark_entities(prediction["tokens"], prediction["tags"])]
    if prediction["tags"] != tags:
        texts += [StyledText("\n    people: ", "aside"), *mark_entities(tokens, tags)]
    return [*texts]


def mark_entities(tokens: Sequence[str], tags: Sequence[str]) -> list[StyledText]:
    """Tokens with the entities of BIO tags in brackets."""
    texts = []
    for index, (token, tag) in enumerate(zip(tokens, tags, strict=True)):
        prefix, _, kind = tag.partition("-")
        begins = prefix == "B" or (prefix == "I" and not _continues(tags, index, kind))
        ends = tag != "O" and (index + 1 == len(tags) or tags[index + 1] != f"I-{kind}")
        texts.append(StyledText(" " if index else ""))
        texts.append(StyledText("[" if begins else "", "mark"))
        texts.append(StyledText(token, "plain" if tag == "O" else "mark"))
        texts.append(StyledText(f" {kind}]" if ends else "", "mark"))
    return texts


def _continues(tags: Sequence[str], index: int, kind: str) -> bool:
    return index > 0 and tags[index - 1] in (f"B-{kind}", f"I-{kind}")


DEMO = Demo(
    sample="wnut16_ner.jsonl",
    contents="tweets in which people marked persons, places, companies and so on",
    baseline="the most frequent tag",
    metrics={"f1": True},
    jobs={
        "demo-tagging": {
            "network": {"hidden_size": 64},
            "training": {"epochs": 20, "batch_size": 24, "learning_rate": 0.006, "seed": 7},
            "options": {},
        }
    },
    questions=ask_test_rows(lambda row: {"tokens": row["tokens"]}, has_several_entity_types),
    render=render,
)
