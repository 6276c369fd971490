import numpy as np
import pytest
import torch

from app.arrays import Floats, Ints
from app.tasks.contract import PADDING, PAIR_FACTOR, Batch
from tests.workers.nn.networks import network
from workers.nn import Member
from workers.nn.heads import LabelHead
from workers.nn.model import SequenceModel
from workers.training.evaluate import fit_ngram_weight, outputs_of

CPU = torch.device("cpu")
TELLING = 20  # the token that tells label 0; the ones after it tell the others


class Tellers:
    """Texts of random tokens, with one that tells the label."""

    carried = False

    def __init__(self, count: int) -> None:
        self.lengths: Ints = np.full(count, 5)

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """All of the same length."""
        del rng
        labels = np.asarray(rows) % 3
        inputs = np.random.default_rng(0).integers(4, 9, (len(self.lengths), 5, 7))[rows]
        inputs[:, 2, 0] = TELLING + labels
        return Batch(inputs, self.lengths[rows], labels, np.ones(len(rows), np.float32))


def model(direction: float) -> Member:
    """A network with random weights, whose n-grams say the truth or, with -1, the opposite."""
    made = network("label of words and pairs")
    assert isinstance(made.head, LabelHead)
    assert made.head.ngrams is not None
    made.head.ngrams.pairs.zero_()
    made.head.ngrams.tokens.zero_()
    made.head.ngrams.tokens[TELLING : TELLING + 3] = direction * 5 * torch.eye(3)
    return made


def accuracy(made: Member, split: Tellers) -> float:
    outputs: list[Floats] = outputs_of(made, split, 8, CPU)
    return float((np.stack(outputs).argmax(axis=1) == np.arange(len(split.lengths)) % 3).mean())


def test_ngrams_that_tell_the_label_get_a_weight() -> None:
    made, split = model(1), Tellers(60)
    weight = fit_ngram_weight(made, split, 8, CPU)
    assert weight
    assert accuracy(made, split) == 1


def test_ngrams_that_are_wrong_count_nothing() -> None:
    made, split = model(-1), Tellers(600)
    assert isinstance(made.head, LabelHead)
    assert made.head.ngrams is not None
    made.head.ngrams.weight.zero_()
    plain = accuracy(made, split)
    assert fit_ngram_weight(made, split, 8, CPU) == 0
    assert accuracy(made, split) == plain


def test_without_validation_they_count_nothing() -> None:
    assert fit_ngram_weight(model(1), Tellers(0), 8, CPU) == 0


@pytest.mark.parametrize("kind", ["label of words", "label of vectors", "next", "sequence"])
def test_other_networks_have_no_weight(kind: str) -> None:
    assert fit_ngram_weight(network(kind), Tellers(6), 8, CPU) is None


def test_pairs_are_looked_up_by_their_hash() -> None:
    made = network("label of words and pairs")
    assert isinstance(made.head, LabelHead)
    scores = made.head.ngrams
    assert scores is not None
    scores.weight.fill_(1.0)
    tokens = torch.tensor([[5, 6, 1, 7, 0, 0], [8, 9, 4, 4, 6, 5]])  # the second is cut after two tokens
    found = scores(tokens[:, :, None], torch.tensor([4, 2]))  # (2, 3)
    pair = {(a, b): scores.pairs[(a * PAIR_FACTOR + b) % len(scores.pairs)] for a, b in ((5, 6), (8, 9))}
    first = scores.tokens[5] + scores.tokens[6] + scores.tokens[7] + pair[5, 6]
    second = scores.tokens[8] + scores.tokens[9] + pair[8, 9]
    torch.testing.assert_close(found, torch.stack([first, second]) + scores.tokens[PADDING])


def test_they_count_in_predictions_and_not_in_the_loss() -> None:
    made, split = model(1), Tellers(6)
    assert isinstance(made, SequenceModel)
    assert isinstance(made.head, LabelHead)
    assert made.head.ngrams is not None
    batch = split.batch(np.arange(6), None)
    inputs, lengths = torch.from_numpy(batch.inputs), torch.from_numpy(batch.lengths)
    targets, weights = torch.from_numpy(batch.targets), torch.from_numpy(batch.weights)
    scale: torch.Tensor = made.head.ngrams.get_buffer("weight")
    losses, predictions = [], []
    for weight in (0.0, 1.0):
        scale.fill_(weight)
        losses.append(float(made.losses(inputs, lengths, targets, weights)[0].detach()))
        predictions.append(made.predict(inputs, lengths))
    assert losses[0] == losses[1]
    assert not torch.allclose(predictions[0], predictions[1])
