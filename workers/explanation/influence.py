"""How much each step of an input influences an answer, by gradients.

Simonyan, Vedaldi & Zisserman (2014), "Deep inside convolutional networks", for the gradient; Sundararajan,
Taly & Yan (2017), "Axiomatic attribution for deep networks", for its integral along a straight line from an
input of zeros.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from app.prediction.explanation_request import GRADIENT, INTEGRATED_GRADIENTS
from app.tasks.contract import PADDING
from workers.inputs import INPUTS
from workers.nn.heads import NgramScores
from workers.nn.inputs import TokensInput
from workers.outputs import OUTPUTS, Network

INTEGRATION_POINTS = 32  # at which the gradient is taken along the line, in the middles of equal parts


class Leaf(NamedTuple):
    """A part of the input: what it was (time, width), and the gradient of the answer there."""

    values: Tensor
    gradient: Tensor


def influence(network: Network, inputs: Tensor, output: Any, method: str) -> list[float]:
    """The influence of each step of inputs (1, time, features) on the answer `output`; its sum is 1.

    Steps are those of the recurrence: where a convolution reads `stride` input steps as one, they count
    together. All steps are equal for an answer that depends on none of them.
    """
    shares = METHODS[method](network, inputs, output)  # (steps,)
    total = float(shares.sum())
    if not 0 < total < torch.inf:
        return [1 / len(shares)] * len(shares)
    normalized: list[float] = (shares / total).tolist()
    return normalized


def _gradient_norms(network: Network, inputs: Tensor, output: Any) -> Tensor:
    """The norm of the gradient by the input of each step (steps,)."""
    squares = [leaf.gradient.double().pow(2).sum(dim=1) for leaf in leaves_of(network, inputs, output)]
    return _by_step(torch.stack(squares).sum(dim=0), network.config.stride).sqrt()


def _integrated_gradients(network: Network, inputs: Tensor, output: Any) -> Tensor:
    """What each step adds to the answer of an input of zeros (steps,), without its sign."""
    return _by_step(attributions(network, inputs, output), network.config.stride).abs()


def attributions(network: Network, inputs: Tensor, output: Any) -> Tensor:
    """Integrated gradients of each input step (time,); their sum is what the answer gains over zeros."""
    total = torch.zeros(inputs.shape[1], dtype=torch.float64)
    for point in range(INTEGRATION_POINTS):
        share = (point + 0.5) / INTEGRATION_POINTS
        for leaf in leaves_of(network, inputs, output, share):
            total += (leaf.gradient * leaf.values).double().sum(dim=1) / INTEGRATION_POINTS
    return total


METHODS: dict[str, Callable[[Network, Tensor, Any], Tensor]] = {
    GRADIENT: _gradient_norms,
    INTEGRATED_GRADIENTS: _integrated_gradients,
}


def _by_step(values: Tensor, stride: int) -> Tensor:
    """Sums (steps,) of values (time,) of which `stride` are one step of the recurrence."""
    padded = nn.functional.pad(values, (0, -len(values) % stride))
    return padded.reshape(-1, stride).sum(dim=1)


def leaves_of(network: Network, inputs: Tensor, output: Any, share: float = 1.0) -> list[Leaf]:
    """The parts of the input, scaled to a `share` of themselves, with the gradient of the answer `output`.

    Token numbers have no gradient; their embeddings have, of each member of an ensemble one, and so has the
    presence of a token (1) where scores of tokens are summed beside the recurrence.
    """
    taps = _Taps(inputs.shape[1], share)
    lengths = torch.tensor([inputs.shape[1]])
    answer = OUTPUTS[network.config.output].answer
    with torch.enable_grad(), taps.installed(network):
        read = inputs
        if not INPUTS[network.config.input].embedded:
            read = taps.tap(inputs.to(next(network.parameters()).dtype))
        explained = answer(network, read, lengths, output)
        if not explained.requires_grad:
            gradients: tuple[Tensor | None, ...] = (None,) * len(taps.leaves)
        else:
            gradients = torch.autograd.grad(explained, taps.leaves, allow_unused=True)
    return [
        Leaf(values, torch.zeros_like(values) if gradient is None else gradient[0, : len(values)])
        for values, gradient in zip(taps.values, gradients, strict=True)
    ]


class _Taps:
    """Cuts the graph where the input has become numbers with a gradient, and scales them there.

    What is read behind the first `time` steps, such as a text that has been generated, is not the input.
    """

    def __init__(self, time: int, share: float) -> None:
        self._time, self._share = time, share
        self.values: list[Tensor] = []  # (time, width) each
        self.leaves: list[Tensor] = []  # (1, time or more, width) each

    def tap(self, values: Tensor) -> Tensor:
        """Go on from the values (1, time or more, width) as a leaf."""
        known = values.detach()
        scaled = torch.cat([self._share * known[:, : self._time], known[:, self._time :]], dim=1)
        self.values.append(known[0, : self._time])
        self.leaves.append(scaled.requires_grad_())
        return self.leaves[-1]

    @contextmanager
    def installed(self, network: Network) -> Iterator[None]:
        """Tap every embedding of the network, and every sum of scores of tokens."""
        handles = [
            module.register_forward_hook(hook)
            for module in network.modules()
            for kind, hook in ((TokensInput, self._after_embedding), (NgramScores, self._after_scores))
            if isinstance(module, kind)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _after_embedding(self, module: nn.Module, arguments: tuple[Any, ...], embedded: Tensor) -> Tensor:
        del module, arguments
        return self.tap(embedded)

    def _after_scores(self, module: nn.Module, arguments: tuple[Any, ...], scores: Tensor) -> Tensor:
        if not isinstance(module, NgramScores):
            raise TypeError("only sums of scores of tokens are tapped")
        steps = module.step_scores(*arguments)  # (1, time, classes)
        presence = self.tap(scores.new_ones(1, steps.shape[1], 1))
        return module.weight * ((presence * steps).sum(dim=1) + module.tokens[PADDING])
