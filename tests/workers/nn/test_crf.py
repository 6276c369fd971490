"""The likelihood of a path against all paths, one by one."""

from itertools import pairwise, product

import pytest
import torch

from workers.nn.crf import CRF


@torch.no_grad()
def scored(chain: CRF, emissions: torch.Tensor, path: tuple[int, ...]) -> float:
    scores = chain()
    total = scores[chain.tags, path[0]] + scores[chain.tags + 1, path[-1]]
    total = total + sum(emissions[step, tag] for step, tag in enumerate(path))
    return float(total + sum(scores[one, two] for one, two in pairwise(path)))


@pytest.mark.parametrize("lengths", [[4, 4], [4, 1, 3]])
def test_the_loss_is_the_log_of_a_path_among_all(lengths: list[int]) -> None:
    torch.manual_seed(0)
    tags, time = 3, max(lengths)
    chain = CRF(tags, [(0, 2), (tags, 1), (2, tags)])
    torch.nn.init.normal_(chain.scores)
    emissions = torch.randn(len(lengths), time, tags)
    targets = torch.zeros(len(lengths), time, dtype=torch.long)
    weights = (torch.arange(time)[None] < torch.tensor(lengths)[:, None]).float()
    wanted = 0.0
    for row, length in enumerate(lengths):
        paths = list(product(range(tags), repeat=length))
        found = torch.tensor([scored(chain, emissions[row], path) for path in paths])
        wanted -= float(found[paths.index((0,) * length)] - found.logsumexp(0))
    with torch.no_grad():
        loss = float(chain.loss(emissions, targets, weights))
    assert loss == pytest.approx(wanted, rel=1e-4)


def test_what_is_forbidden_has_no_probability() -> None:
    chain = CRF(3, [(0, 1), (3, 2), (1, 3)])
    scores = chain().detach()
    assert scores[0, 1] < -1000  # from tag 0 to tag 1
    assert scores[3, 2] < -1000  # from the start to tag 2
    assert scores[4, 1] < -1000  # from tag 1 to the end
    assert (scores < -1000).sum() == 3
