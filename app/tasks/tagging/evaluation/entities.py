"""Evaluation of tags: entities with the right span and type, and tags word by word."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from app.arrays import Array, Arrays
from app.errors import Problem
from app.tasks.contract import Instances
from app.tasks.evaluation.contract import EvaluationSettings, Predict, TrainedVersion, TrainingData
from app.tasks.evaluation.examples import ExampleEvaluation
from app.tasks.evaluation.picked import PickedInstances, PickedRows, lacks, needed, without_windows
from app.tasks.evaluation.resampling import ratio
from app.tasks.evaluation.rows import evaluated_rows
from app.tasks.evaluation.sums import SumTally
from app.tasks.tagging.evaluation.counted import CountedTags
from app.tasks.tagging.inference import TaggingInstances, TaggingParameters
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.spans import EntityMarks
from app.tasks.tagging.tag_schemes import PLAIN, TYPED_TAG, TagScheme, TagSet, TokenRole
from app.typedefs import Json

COUNTED = "most_frequent_tag"
OF_TAGS, OF_ENTITIES = ("wrong_tags", "tags"), ("correct_entities", "predicted_entities", "expected_entities")
ROLES = {
    **dict.fromkeys("B", TokenRole.BEGIN),
    **dict.fromkeys("IM", TokenRole.INSIDE),
    **dict.fromkeys("EL", TokenRole.END),
    **dict.fromkeys("SU", TokenRole.SINGLE),
}


def _check(
    summary: Json,
    states: Sequence[Json],
    parameters: TaggingParameters,
    settings: EvaluationSettings,
) -> list[Problem]:
    """Refuse sentences without tags, and tags that mark entities for some and none for others."""
    del parameters, settings
    if not summary["distinct_tags"]:
        return lacks("its sentences have no tags")
    if summary["scheme"] == PLAIN and any(state["scheme"] != PLAIN for state in states):
        detail = "its tags mark no entities, which is what a version has learned"
        return [Problem("/dataset", detail)]
    return []


class TaggingSet:
    """Tagged sentences, see `EvaluationSet`."""

    unit = "example"
    training_arrays = staticmethod(without_windows)

    def __init__(self, arrays: Arrays, versions: Sequence[TrainedVersion]) -> None:
        self._arrays, self._sentences = arrays, Sentences.from_arrays(arrays)
        self._picked = PickedRows(evaluated_rows(self._sentences.splits, versions))
        self.windows, self.units = self._picked.windows, self._picked.units
        self.identity = self._picked.identity
        plain = self._sentences.scheme is None or any(one.state["scheme"] == PLAIN for one in versions)
        self._scheme = None if plain else self._sentences.scheme
        of_entities: Mapping[str, bool] = {"f1": True, "precision": True, "recall": True}
        self.higher_is_better: Mapping[str, bool] = {**({} if plain else of_entities), "accuracy": True}
        self.warnings: list[str] = []

    def instances(self, state: Json) -> Instances:
        """See `EvaluationSet`."""
        del state
        return PickedInstances(TaggingInstances(self._arrays), self._picked.rows)

    def actual(self, example: int) -> list[str]:
        """The tags."""
        tokens = self._sentences.token_indices(self._picked.rows[[example]])
        return [self._sentences.tag_names[tag] for tag in self._sentences.tags[tokens].tolist()]

    def baseline(self, name: str, training: TrainingData | None) -> Predict:
        """The tag that each word has most often in training."""
        training = needed(training, name)
        return CountedTags(training, self._sentences, self._picked.rows).predict

    def errors(self, example: int, prediction: Json) -> Json:
        """Wrong tags, and entities that are right, predicted and expected."""
        actual, tags = self.actual(example), prediction["tags"]
        if self._scheme is None:
            wrong = sum(one != other for one, other in zip(actual, tags, strict=True))
            return {"wrong_tags": wrong, "tags": len(actual)}
        expected, predicted = entity_spans(actual), entity_spans(tags)
        sides = (canonical_tags(self._scheme, spans, len(actual)) for spans in (expected, predicted))
        wrong = sum(one != other for one, other in zip(*sides, strict=True))
        counts = (len(expected & predicted), len(predicted), len(expected))
        return {"wrong_tags": wrong, "tags": len(actual), **dict(zip(OF_ENTITIES, counts, strict=True))}

    def tally(self, resamples: int) -> SumTally:
        """See `EvaluationSet`."""
        names = OF_TAGS if self._scheme is None else (*OF_TAGS, *OF_ENTITIES)
        return SumTally(resamples, len(names), partial(_figures, names), _metrics)


Span = tuple[str, int, int]  # the type of an entity, its first token, and the token after its last one


def entity_spans(tags: Sequence[str]) -> set[Span]:
    """The entities of one sentence by the rules of conlleval; its tags may be of any scheme."""
    names = list(dict.fromkeys(tags))
    parsed = [_parse(name) for name in names]
    types = ["", *sorted({part[1] for part in parsed if part is not None})]
    numbers = {name: number for number, name in enumerate(types) if number}
    type_ids = np.array([0 if part is None else numbers[part[1]] for part in parsed], np.int64)
    roles = np.array([0 if part is None else part[0] for part in parsed], np.int64)
    tag_set = TagSet(TagScheme("any", "BIES"), names, type_ids, roles, types)
    tag_ids = np.array([names.index(tag) for tag in tags], np.int64)
    marks = EntityMarks.from_tags(tag_set, tag_ids, np.arange(len(tags)) == 0)
    return {(types[kind], first, stop) for first, stop, kind in marks.spans().tolist()}


def _parse(tag: str) -> tuple[int, str] | None:
    """Role and type of a tag, whose type is a space where it has none; None outside of entities."""
    if (match := TYPED_TAG.fullmatch(tag)) is not None:
        return int(ROLES[match[1]]), match[2]
    return (int(ROLES[tag]), " ") if tag in ROLES else None


def canonical_tags(scheme: TagScheme, spans: set[Span], count: int) -> list[str]:
    """A tag for each of the tokens, in a scheme."""
    tags = ["O"] * count
    for name, first, stop in spans:
        for token in range(first, stop):
            role = TokenRole.INSIDE
            if token in (first, stop - 1):
                role = TokenRole.BEGIN if token == first else TokenRole.END
            tags[token] = scheme.tag(TokenRole.SINGLE if stop - first == 1 else role, name.strip())
    return tags


def _figures(names: Sequence[str], line: Json) -> list[float]:
    return [line["errors"][name] for name in names]


def _metrics(sums: Array) -> dict[str, Array]:
    """The metrics of sums (resamples, figures)."""
    wrong, tags = sums[:, 0], sums[:, 1]
    metrics = {"accuracy": 1 - ratio(wrong, tags)}
    if sums.shape[1] > len(OF_TAGS):
        correct, predicted, expected = sums[:, len(OF_TAGS) :].T
        metrics["f1"] = ratio(2 * correct, predicted + expected)
        metrics["precision"], metrics["recall"] = ratio(correct, predicted), ratio(correct, expected)
    return metrics


EVALUATION = ExampleEvaluation((COUNTED,), _check, TaggingSet)
