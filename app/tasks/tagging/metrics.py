"""Metrics of predicted tags: of whole entities by seqeval's rules, or word by word."""

import numpy as np

from app.arrays import Array
from app.tasks.shared.ragged import offsets_of
from app.tasks.tagging.baseline import predict_by_counting
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.spans import EntityMarks, sentence_starts
from app.tasks.tagging.tag_schemes import PLAIN, SCHEMES, UNNAMED_TYPE, TagSet
from app.typedefs import Json

MAX_TAGS_SCORED = 30  # tags with figures of their own, the most frequent ones


def evaluate_tags(
    state: Json, sentences: Sentences, rows: Array, train: Array, predicted: Array
) -> tuple[Json, Json]:
    """Metrics of the predicted tags (tokens,) of some sentences, and of the baseline on the same ones."""
    counted = predict_by_counting(sentences, train, sentences.token_indices(rows))
    if state["scheme"] == PLAIN:
        return _evaluate_words(state, sentences, rows, train, predicted, counted)
    return _evaluate_entities(state, sentences, rows, predicted, counted)


def _evaluate_words(
    state: Json, sentences: Sentences, rows: Array, train: Array, predicted: Array, counted: Array
) -> tuple[Json, Json]:
    """Metrics of plain tags; `predicted` are numbers of the network's tags, `counted` of the file's."""
    tokens, words = sentences.token_indices(rows), sentences.tokens.values
    numbers = {name: number for number, name in enumerate(sentences.tag_names)}
    file_tags = np.array([numbers[name] for name in state["tags"]])[predicted]
    truth = sentences.tags[tokens]
    is_unseen = ~np.isin(words[tokens], words[sentences.token_indices(train)])
    metrics, baseline = (
        score_tags(sentences.tag_names, truth, tags, is_unseen) for tags in (file_tags, counted)
    )
    return metrics, baseline


def _evaluate_entities(
    state: Json, sentences: Sentences, rows: Array, predicted: Array, counted: Array
) -> tuple[Json, Json]:
    """Metrics of entities; `predicted` are numbers of the network's tags, `counted` of the file's."""
    tokens, file_tags, entities = sentences.token_indices(rows), sentences.tag_set, sentences.entities
    truth = EntityMarks(entities.type_ids[tokens], entities.begins[tokens], entities.ends[tokens])
    starts = sentence_starts(offsets_of(sentences.tokens.lengths[rows]))
    tags = TagSet.parse(SCHEMES[state["scheme"]], state["tags"])
    mapping = np.array([0, *(file_tags.types.index(name, 1) for name in tags.types[1:])])
    network = EntityMarks.from_tags(tags, predicted, starts).map_types(mapping)
    letters = file_tags.scheme.letter_indices
    same_letter = letters[network.roles] == letters[truth.roles]
    is_right = (network.type_ids == truth.type_ids) & ((truth.type_ids == 0) | same_letter)
    baseline = EntityMarks.from_tags(file_tags, counted, starts)
    return (
        score_entities(file_tags.types, truth, network, is_right),
        score_entities(file_tags.types, truth, baseline, counted == sentences.tags[tokens]),
    )


def score_entities(types: list[str], truth: EntityMarks, predicted: EntityMarks, is_right: Array) -> Json:
    """Precision, recall and F1 of entities with the right span and type, as in conlleval and seqeval.

    `types` has the names of the entities' types; `is_right` says which tokens have the right tag, (tokens,).
    """
    expected, actual = _entity_keys(truth, len(types)), _entity_keys(predicted, len(types))
    correct = np.intersect1d(expected, actual, assume_unique=True)
    correct_counts, actual_counts, expected_counts = (
        np.bincount(keys % len(types), minlength=len(types)) for keys in (correct, actual, expected)
    )
    total = _precision_recall_f1(len(correct), len(actual), len(expected))
    return {
        "f1": total["f1"],
        "precision": total["precision"],
        "recall": total["recall"],
        "accuracy": float(is_right.mean()),
        "entities": total["support"],
        "types": {
            name or UNNAMED_TYPE: _precision_recall_f1(
                int(correct_counts[number]), int(actual_counts[number]), int(expected_counts[number])
            )
            for number, name in enumerate(types)
            if number and (actual_counts[number] or expected_counts[number])
        },
    }


def _entity_keys(entities: EntityMarks, types: int) -> Array:
    """A number for the span and type of each entity; modulo `types` it is the type."""
    spans = entities.spans()
    return (spans[:, 0] * (len(entities.type_ids) + 1) + spans[:, 1]) * types + spans[:, 2]


def score_tags(names: list[str], truth: Array, predicted: Array, is_unseen: Array) -> Json:
    """Accuracy of all words and of unseen ones, and figures of each tag.

    Tags are (tokens,), as is `is_unseen`: whether a word is not in the training split.
    """
    is_right, size = truth == predicted, len(names)
    correct, actual, expected = (
        np.bincount(tags, minlength=size) for tags in (truth[is_right], predicted, truth)
    )
    order = np.argsort(-expected, kind="stable")[:MAX_TAGS_SCORED].tolist()
    return {
        "accuracy": float(is_right.mean()),
        "accuracy_unseen_words": float(is_right[is_unseen].mean()) if is_unseen.any() else None,
        "unseen_words": int(is_unseen.sum()),
        "tags": {
            names[tag]: _precision_recall_f1(int(correct[tag]), int(actual[tag]), int(expected[tag]))
            for tag in order
            if expected[tag]
        },
    }


def _precision_recall_f1(correct: int, predicted: int, expected: int) -> Json:
    """Precision, recall and their harmonic mean, 0 where the denominator is 0; support is `expected`."""
    return {
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / expected if expected else 0.0,
        "f1": 2 * correct / (predicted + expected) if predicted + expected else 0.0,
        "support": expected,
    }
