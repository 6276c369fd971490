"""Influence beside an independent reference: the network written out step by step, in double precision."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from app.prediction.explanation_request import GRADIENT, INTEGRATED_GRADIENTS
from app.tasks.contract import END, DecodedTokens, Input, Output
from tests.workers.nn.networks import KINDS, config, examples, network
from workers.explanation.influence import attributions, influence, leaves_of
from workers.nn import Member, ModelConfig, Network
from workers.nn.ensemble import Ensemble
from workers.nn.model import SequenceModel
from workers.nn.recurrent.cells import CELLS, Recurrent
from workers.outputs import OUTPUTS, build, join

STEPS = 9


def predicted(model: Network, inputs: Tensor) -> Any:
    """An output such as the engine gives for one example."""
    kind, lengths = model.config.output, torch.tensor([inputs.shape[1]])
    if kind.stepwise:
        return DecodedTokens(np.array([7, 5, 9]), {"finish_reason": "stop"})
    with torch.no_grad():
        network_: Any = model
        output = network_.predict(inputs, lengths)[0].numpy()
    return output.argmax(axis=1) if kind is Output.LABELS else output


def made(kind: str, cell: str, **changes: Any) -> tuple[Network, Tensor]:
    """A network in double precision, and one input (1, time, features)."""
    members: list[Member] = [
        network(kind, cell, seed, **changes) for seed in (1, 2)[: changes.get("members", 1)]
    ]
    model = join(members).double().eval()
    inputs, *_ = examples(model.config, [STEPS])
    return model, inputs.double() if inputs.is_floating_point() else inputs


def by_hand(stack: Recurrent, embedded: Tensor) -> Tensor:
    """Top states (time, states) of vectors (time, width), by the cells of torch, one step after another."""
    read = list(embedded)
    for layer, ahead in enumerate(stack.forwards):
        sides = [(ahead, read)]
        if len(stack.backwards):
            sides.append((stack.backwards[layer], read[::-1]))
        columns = []
        for module, steps in sides:
            state, states = None, []
            for step in steps:
                _, state = module(step[None, None], state)
                states.append((state[0] if isinstance(state, tuple) else state)[0, 0])
            columns.append(states)
        if len(columns) == 2:
            columns[1] = columns[1][::-1]
        read = [torch.cat(parts) for parts in zip(*columns, strict=True)]
    return torch.stack(read)


def reference(model: SequenceModel, inputs: Tensor, output: Any) -> list[float]:
    """Norms of gradients by embedded steps, for networks whose answer is a function of the top states."""
    stack: Any = model.recurrent
    head: Any = model.head
    assert isinstance(stack, Recurrent)
    embedded = model.embed(inputs, torch.tensor([STEPS]))[0].detach().requires_grad_()  # (time, width)
    states = by_hand(stack, embedded)
    match model.config.output:
        case Output.LABEL:
            pooled = torch.cat([states[-1], states.amax(0), states.mean(0)])
            answer = torch.log_softmax(head.out(pooled), 0)[int(output.argmax())]
        case Output.NEXT_TOKEN:
            raise NotImplementedError
        case Output.LABELS:
            logs = torch.log_softmax(head.out(states), 1)
            answer = torch.stack([logs[step, tag] for step, tag in enumerate(output.tolist())]).sum()
        case _:
            joined = torch.cat([states[-1], embedded[-1]])
            curved = head.out(torch.nn.functional.silu(head.hidden(joined)))
            answer = (curved + head.direct(embedded[-1])).sum() / 2
    (gradient,) = torch.autograd.grad(answer, embedded)
    norms = gradient.norm(dim=1)
    return (norms / norms.sum()).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["quantiles", "label of vectors", "labels"])
def test_influence_is_that_of_the_reference(kind: str, cell: str, layers: int) -> None:
    model, inputs = made(kind, cell, layers=layers)
    assert isinstance(model, SequenceModel)
    output = predicted(model, inputs)
    shares = influence(model, inputs, output, GRADIENT)
    assert shares == pytest.approx(reference(model, inputs, output), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: str, cell: str, members: int) -> None:
    """Of every kind of input and output: the answer changes as its gradient says."""
    model, inputs = made(kind, cell, members=members)
    output = predicted(model, inputs)
    assert isinstance(model, Ensemble) == (members == 2)
    leaves = leaves_of(model, inputs, output)
    assert sum(float(leaf.gradient.abs().sum()) for leaf in leaves) > 0
    # Along the line from zeros to the input the answer changes by the product of gradient and input.
    slope = sum(float((leaf.gradient * leaf.values).sum()) for leaf in leaves)
    width = 1e-5
    above, below = (scaled_answer(model, inputs, output, 1 + side * width) for side in (1, -1))
    assert (above - below) / (2 * width) == pytest.approx(slope, rel=1e-3, abs=1e-6)


def scaled_answer(model: Network, inputs: Tensor, output: Any, share: float) -> float:
    """The answer for an input of which every vector is scaled."""
    lengths, answer = torch.tensor([inputs.shape[1]]), OUTPUTS[model.config.output].answer
    handles = []
    for member in getattr(model, "members", [model]):
        if inputs.is_floating_point() or inputs.dtype == torch.uint8:
            continue
        embed, ngrams = (
            member.embed,
            getattr(member.head, "ngrams", None) if hasattr(member, "head") else None,
        )

        def scaled(_module: Any, _arguments: Any, embedded: Tensor) -> Tensor:
            return torch.cat([share * embedded[:, :STEPS], embedded[:, STEPS:]], dim=1)

        handles.append(embed.register_forward_hook(scaled))
        if ngrams is not None:
            handles.append(
                ngrams.register_forward_hook(
                    lambda module, arguments, scores: (
                        scores + (share - 1) * module.weight * module.step_scores(*arguments).sum(dim=1)
                    )
                )
            )
    read = inputs if handles else share * inputs.double()
    with torch.no_grad():
        result = float(answer(model, read, lengths, output))
    for handle in handles:
        handle.remove()
    return result


@pytest.mark.parametrize("method", [GRADIENT, INTEGRATED_GRADIENTS])
@pytest.mark.parametrize("kind", KINDS)
def test_shares_sum_to_one(kind: str, method: str) -> None:
    model, inputs = made(kind, "gru", members=2)
    shares = influence(model, inputs, predicted(model, inputs), method)
    assert len(shares) == STEPS
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0


@pytest.mark.parametrize(
    "kind", ["quantiles", "label of words and pairs", "labels in a chain", "next", "sequence"]
)
def test_integrated_gradients_sum_to_what_the_answer_gains(kind: str) -> None:
    model, inputs = made(kind, "lstm")
    output = predicted(model, inputs)
    gained = scaled_answer(model, inputs, output, 1.0) - scaled_answer(model, inputs, output, 0.0)
    assert float(attributions(model, inputs, output).sum()) == pytest.approx(gained, rel=0.02, abs=0.02)


@pytest.mark.parametrize("stride", [1, 3])
def test_frames_of_one_step_count_together(stride: int) -> None:
    frames = ModelConfig(
        Input.FRAMES, Output.ALIGNED, 3, 5, "gru", 1, 8, bidirectional=True, embedding_size=6,
        stride=stride, kernel=5,
    )  # fmt: skip
    model = build(frames, 0).double().eval()
    inputs = torch.randn(1, 11, model.config.features, generator=torch.Generator().manual_seed(0)).double()
    output = predicted(model, inputs)
    (leaf,) = leaves_of(model, inputs, output)
    squares = leaf.gradient.pow(2).sum(dim=1)
    norms = torch.tensor(
        [float(squares[first : first + stride].sum()) for first in range(0, 11, stride)]
    ).sqrt()
    shares = influence(model, inputs, output, GRADIENT)
    assert shares == pytest.approx((norms / norms.sum()).tolist(), rel=1e-6)


def test_an_answer_that_depends_on_nothing_depends_on_all_steps_alike() -> None:
    model, inputs = made("quantiles", "gru")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    for method in (GRADIENT, INTEGRATED_GRADIENTS):
        assert influence(model, inputs, predicted(model, inputs), method) == [1 / STEPS] * STEPS


def test_a_text_that_ends_at_once_is_explained_by_its_end() -> None:
    model, inputs = made("next", "gru")
    nothing = DecodedTokens(np.zeros(0, np.int64), {"finish_reason": "stop"})
    end = DecodedTokens(np.array([END]), {"finish_reason": "length"})
    assert influence(model, inputs, nothing, GRADIENT) == influence(model, inputs, end, GRADIENT)


def test_a_generated_text_is_no_step_of_the_input() -> None:
    model, inputs = made("next", "gru")
    leaves = leaves_of(model, inputs, predicted(model, inputs))
    assert [leaf.values.shape[0] for leaf in leaves] == [STEPS]
    assert config("next").output.stepwise
