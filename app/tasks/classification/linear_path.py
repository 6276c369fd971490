"""Scores of tokens and pairs of neighboring tokens that a network adds up: a linear classifier beside it.

Naive Bayes and logistic regression over its log-count ratios (NB-SVM: Wang & Manning 2012, "Baselines and
bigrams"), mixed by a share and calibrated by a temperature. Texts that a part of the training texts never had
decide both: cross-validation has many more texts than a validation split.
"""

from importlib import import_module  # only a worker that trains pays for the libraries
from typing import Any

import numpy as np

from app.arrays import Floats, Ints
from app.tasks.classification.ngram_tables import MAX_COUNTED_TEXTS, TABLES, log_count_ratios, ngram_keys
from app.tasks.classification.text_encoding import EncodedTexts
from app.tasks.contract import PADDING
from app.tasks.shared.label_metrics import fit_temperature, log_loss, probabilities

FOLDS = 3
MAX_FITTED_TEXTS = 20_000  # with more, or with more labels, it is naive Bayes alone
MAX_FITTED_LABELS = 20
MAX_CHECKED_TEXTS = 20_000  # that calibrate
INVERSE_PENALTY = 0.1  # of the squared weights of logistic regression
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of logistic regression

Parts = list[Floats]  # weights (features, labels) of naive Bayes and, where it is fitted, of NB-SVM


def linear_tables(
    encoded: EncodedTexts, train: Ints, final: Ints, labels: Ints, shape: tuple[int, int, int]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Tables by a buffer's name, learned from some rows of the texts, and from others for the final network.

    `labels` are those of all texts, (texts,); `shape` is (vocabulary, pair rows, labels). Sums of their rows
    are calibrated. What never occurs scores 0; the row of padding is what a text scores before any token.
    """
    train, final = (rows[:: -(-len(rows) // MAX_COUNTED_TEXTS) or 1] for rows in (train, final))
    checked = train[:: -(-len(train) // MAX_CHECKED_TEXTS) or 1]
    fitted = len(train) <= MAX_FITTED_TEXTS and shape[2] <= MAX_FITTED_LABELS
    factors = _factors(_features(encoded, checked, shape), labels[checked], shape[2], fitted=fitted)
    tables = []
    for rows in (train, final):
        parts = _fit(_features(encoded, rows, shape), labels[rows], shape[2], fitted=fitted)
        weights = sum(factor * part for factor, part in zip(factors, parts, strict=True))
        single, pairs = np.split(np.asarray(weights, np.float32), [shape[0]])
        tables.append({TABLES["tokens"]: single, TABLES["pairs"]: pairs})
    return tables[0], tables[1]


def _features(encoded: EncodedTexts, rows: Ints, shape: tuple[int, int, int]) -> Any:
    """How often each token and each row of the pairs occurs, (texts, vocabulary + pair rows), sparse.

    Padding occurs once in each text.
    """
    keys, owners = ngram_keys(encoded, rows, shape[0], shape[1])
    every = np.arange(len(rows))
    keys, owners = np.append(keys, np.full(len(rows), PADDING)), np.append(owners, every)
    size = len(rows), shape[0] + shape[1]
    return import_module("scipy.sparse").csr_matrix((np.ones(len(keys)), (owners, keys)), shape=size)


def _fit(features: Any, labels: Ints, count: int, *, fitted: bool) -> Parts:
    """The weights of both classifiers; those of naive Bayes alone if logistic regression is not `fitted`."""
    kinds = [np.asarray(features[labels == label].sum(axis=0)).ravel() for label in range(count)]
    counts = np.stack(kinds, axis=1)  # (features, labels)
    texts = np.log(counts[PADDING] + 1)
    counts[PADDING] = 0
    ratios = log_count_ratios(counts)
    parts = [ratios, _regression(features, labels, ratios)] if fitted else [ratios]
    ratios[PADDING] = texts - texts.mean()
    return parts


def _regression(features: Any, labels: Ints, ratios: Floats) -> Floats:
    """Logistic regression of each label against the others, over the features times their ratios."""
    sparse, linear = import_module("scipy.sparse"), import_module("sklearn.linear_model")
    weights, telling = np.zeros_like(ratios), np.flatnonzero(ratios.any(axis=1))
    features, ratios = features[:, telling], ratios[telling]
    known = np.unique(labels).tolist()
    for label in known if len(known) > 1 and len(telling) else ():
        model = linear.LogisticRegression(C=INVERSE_PENALTY, max_iter=200, tol=1e-3)
        model.fit(features @ sparse.diags(ratios[:, label]), labels == label)
        weights[telling, label] = model.coef_[0] * ratios[:, label]
        weights[PADDING, label] = model.intercept_[0]
    centered: Floats = weights - weights.mean(axis=1, keepdims=True)
    return centered


def _factors(features: Any, labels: Ints, count: int, *, fitted: bool) -> list[float]:
    """What to multiply the weights of each classifier by before they are added up."""
    fold = np.random.default_rng(len(labels)).permutation(len(labels)) % FOLDS
    scores = np.zeros((1 + fitted, len(labels), count))  # of texts that their classifiers do not know
    for number in range(FOLDS):
        known = fold != number
        parts = _fit(features[known], labels[known], count, fitted=fitted)
        scores[:, ~known] = [features[~known] @ part for part in parts]
    calibrated = [1 / fit_temperature(one, labels) for one in scores]
    best: tuple[float, list[float]] | None = None
    for share in SHARES if fitted else (0.0,):
        factors = [(1 - share) * calibrated[0], *(share * scale for scale in calibrated[1:])]
        mixed = np.tensordot(factors, scores, 1)  # (texts, labels)
        temperature = fit_temperature(mixed, labels)
        loss = log_loss(probabilities(mixed, temperature), labels)
        if best is None or loss < best[0]:
            best = loss, [factor / temperature for factor in factors]
    return best[1] if best is not None else calibrated
