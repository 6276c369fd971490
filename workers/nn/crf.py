"""A linear-chain conditional random field over tags: scores of transitions, and the likelihood of a path.

Lafferty, McCallum & Pereira (2001), "Conditional random fields"; as a layer, Lample et al. (2016).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

NEVER = -1e4  # the score of a transition that cannot happen


class CRF(nn.Module):
    """Transition scores (tags + 2, tags): row i from tag i, a row from the start, and one to the end."""

    def __init__(self, tags: int, forbidden: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.tags = tags
        self.scores = nn.Parameter(torch.zeros(tags + 2, tags))
        never = torch.zeros(tags + 2, tags)
        for source, to in forbidden:
            row, column = (tags + 1, source) if to == tags else (source, to)
            never[row, column] = NEVER
        self.register_buffer("never", never)
        self.never: Tensor

    def forward(self) -> Tensor:
        """The scores, (tags + 2, tags)."""
        return self.scores + self.never

    def loss(self, emissions: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Sum over the batch of the negative log-likelihood of the target tags.

        Emissions (batch, time, tags), targets and weights (batch, time); a row counts up to its last step of
        a positive weight.
        """
        scores = self()
        between, start, end = scores[: self.tags], scores[self.tags], scores[self.tags + 1]
        counts = weights > 0  # (batch, time)
        alpha = start + emissions[:, 0]  # (batch, tags)
        for step in range(1, emissions.shape[1]):
            onward = torch.logsumexp(alpha[:, :, None] + between, dim=1) + emissions[:, step]
            alpha = torch.where(counts[:, step, None], onward, alpha)
        total = torch.logsumexp(alpha + end, dim=1)  # (batch,)
        return (total - self._path(emissions, targets, counts, (between, start, end))).sum()

    def _path(
        self, emissions: Tensor, targets: Tensor, counts: Tensor, scores: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """The score of the target tags (batch,)."""
        between, start, end = scores
        here = emissions.gather(2, targets[:, :, None]).squeeze(2) * counts  # (batch, time)
        steps = between[targets[:, :-1], targets[:, 1:]] * counts[:, 1:]  # (batch, time - 1)
        last = targets.gather(1, counts.sum(dim=1, keepdim=True) - 1).squeeze(1)  # (batch,)
        return here.sum(dim=1) + steps.sum(dim=1) + start[targets[:, 0]] + end[last]
