"""How probable a network finds sequences of tokens, through the graph that generates them in requests."""

from collections.abc import Callable, Sequence

import numpy as np

from app.arrays import Array, Ints
from app.tasks.contract import PADDING
from app.tasks.evaluation.contract import ScoredWindow
from workers.batch.predict import Stopped
from workers.decoding.onnx_model import StepModel

MAX_ROWS = 128  # that are read together
MAX_STEP_FLOATS = 1 << 22  # rows * tokens of the vocabulary whose scores are in memory
CHECKED_STEPS = 32  # between two looks at whether to stop


def nats_of(
    model: StepModel, windows: Sequence[ScoredWindow], should_stop: Callable[[], bool]
) -> list[Array]:
    """The negative log-likelihood of the scored targets of each window (targets,), in nats.

    Raises `Stopped`.
    """
    results: list[Array] = [np.zeros(0)] * len(windows)
    order = sorted(range(len(windows)), key=lambda row: (windows[row].skipped, len(windows[row].tokens)))
    for start in range(0, len(order), MAX_ROWS):
        rows = order[start : start + MAX_ROWS]
        for row, nats in zip(rows, _batch([windows[row] for row in rows], model, should_stop), strict=True):
            results[row] = nats
    return results


def _batch(windows: list[ScoredWindow], model: StepModel, should_stop: Callable[[], bool]) -> list[Array]:
    """The same for a few windows: their context is read at once, their targets one by one."""
    lead = np.array([one.skipped + 1 for one in windows])  # (rows,) tokens that precede the first scored one
    targets = np.array([len(one.tokens) for one in windows]) - lead  # (rows,)
    tokens = np.full((len(windows), int((lead + targets).max())), PADDING, np.int64)
    for row, one in enumerate(windows):
        tokens[row, : len(one.tokens)] = one.tokens
    nats = np.zeros((len(windows), int(targets.max(initial=0))))
    context = np.where(np.arange(int(lead.max())) < lead[:, None], tokens[:, : int(lead.max())], PADDING)
    scores, state = model.prefill(context[:, :, None], lead, model.initial_state(len(windows)))
    if scores is None:
        raise ValueError("this network gives no scores")
    for step in range(nats.shape[1]):
        if step % CHECKED_STEPS == 0 and should_stop():
            raise Stopped
        at = np.minimum(lead + step, tokens.shape[1] - 1)
        following = np.take_along_axis(tokens, at[:, None], axis=1)[:, 0]  # (rows,)
        nats[:, step] = _nats(scores, following)
        if step + 1 < nats.shape[1]:
            scores, state = model.step(following, state)[:2]
    return [row[:count] for row, count in zip(nats, targets.tolist(), strict=True)]


def _nats(scores: Array, tokens: Ints) -> Array:
    """-ln p of a token of each row (rows,), from logits (rows, vocabulary)."""
    size = max(1, MAX_STEP_FLOATS // scores.shape[1])
    parts = []
    for start in range(0, len(scores), size):
        logits = scores[start : start + size].astype(np.float64)
        highest = logits.max(axis=1, keepdims=True)
        total = np.log(np.exp(logits - highest).sum(axis=1)) + highest[:, 0]  # (rows,)
        parts.append(total - np.take_along_axis(logits, tokens[start : start + size, None], axis=1)[:, 0])
    return np.concatenate(parts)
