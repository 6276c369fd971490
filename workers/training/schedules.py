"""Optimisers and learning rate schedules, by name."""

import math
from collections.abc import Callable

import torch

Optimizer = torch.optim.Adam | torch.optim.AdamW | torch.optim.NAdam | torch.optim.RAdam

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
}

WARM_UP_SHARE = 0.2  # of the steps of a one-cycle schedule
INITIAL_RATE_SHARE = 0.1  # of the peak learning rate


def one_cycle(step: int, total: int) -> float:
    """Rise along a cosine, then fall to nearly zero (Smith & Topin 2018, "Super-convergence")."""
    rise = max(1.0, WARM_UP_SHARE * total)
    if step < rise:
        return INITIAL_RATE_SHARE + (1 - INITIAL_RATE_SHARE) * (1 - math.cos(math.pi * step / rise)) / 2
    return cosine(step - int(rise), total - int(rise))


def cosine(step: int, total: int) -> float:
    """Fall along half a cosine (Loshchilov & Hutter 2017, "SGDR")."""
    return max(0.002, (1 + math.cos(math.pi * min(1.0, step / max(total, 1)))) / 2)


def constant(step: int, total: int) -> float:
    """The same learning rate at every step."""
    del step, total
    return 1.0


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "one_cycle": one_cycle,
    "cosine": cosine,
    "constant": constant,
}
