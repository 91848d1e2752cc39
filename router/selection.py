"""Which experts follow a gate's opinion, and with what weight.

Pure functions from probabilities (B, K) to weights (B, K) that sum to 1 in every row: mixing in
velocity, image, noise or score space is the same only then.

Source: McAllister et al., Decentralized Diffusion Models (arXiv 2501.05450), for ``full``, ``top``,
``threshold``, ``nucleus`` and ``sample``. ``ancestral`` and ``coupled`` follow from the data being
the mixture of their clusters: one draw of a cluster for each image samples the same distribution.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from atoll.errors import ConfigError
from atoll.strategies import known_strategy


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection strategy.

    Attributes:
        name: ``full``, ``top``, ``threshold``, ``nucleus``, ``sample``, ``ancestral``, ``coupled``.
        parameter: N of ``top-N``, P of ``threshold-P`` and ``nucleus-P``; 0 for the others.
    """

    name: str
    parameter: float = 0.0

    @property
    def draws(self) -> bool:
        """Whether it needs a random number for each row."""
        return self.name in {"sample", "ancestral", "coupled"}


def parse_strategy(text: str) -> Selection:
    """The selection behind a name such as ``top-2``.

    Raises:
        ConfigError: there is no such strategy.
    """
    try:
        match = re.fullmatch(r"([a-z]+)(?:-(.+))?", known_strategy(text))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    assert match is not None
    return Selection(match[1], float(match[2] or 0))


def select(selection: Selection, p: Tensor, uniform: Tensor | None = None) -> Tensor:
    """The weight of each expert.

    Args:
        selection: how to choose.
        p: the gate's probabilities, (B, K), rows summing to 1.
        uniform: a number in [0, 1) for each row, (B,), where the selection draws: a fresh one at
            each step for ``sample``, one and the same for an image for ``coupled`` and
            ``ancestral``.

    Returns:
        (B, K), rows summing to 1.
    """
    if selection.draws:
        assert uniform is not None
        return F.one_hot(drawn(p, uniform), p.shape[1]).to(p.dtype)
    if selection.name == "top":
        return top(p, int(selection.parameter))
    if selection.name == "threshold":
        return threshold(p, selection.parameter)
    if selection.name == "nucleus":
        return nucleus(p, selection.parameter)
    return renormalised(p)


def top(p: Tensor, num: int) -> Tensor:
    """Keep the ``num`` likeliest experts; of equals, those with the lower numbers."""
    _, order = _by_likelihood(p)
    return renormalised(_keep(p, order[:, :num]))


def threshold(p: Tensor, least: float) -> Tensor:
    """Keep experts with at least this probability; where there is none, the likeliest."""
    kept = torch.where(p >= least, p, 0)
    nobody = kept.sum(1, keepdim=True) == 0
    return renormalised(torch.where(nobody, top(p, 1), kept))


def nucleus(p: Tensor, mass: float) -> Tensor:
    """Keep the fewest likeliest experts that hold at least this mass together."""
    ranked, order = _by_likelihood(p)
    before = ranked.cumsum(1) - ranked  # the mass of all likelier ones
    needed = before < mass
    needed[:, 0] = True
    return renormalised(p * torch.zeros_like(needed).scatter(1, order, needed))


def drawn(p: Tensor, uniform: Tensor) -> Tensor:
    """The expert at a quantile: the inverse of the cumulated probabilities.

    Args:
        p: (B, K), rows summing to 1.
        uniform: (B,), in [0, 1).

    Returns:
        (B,) int64; over uniform numbers, expert k has probability p_k.
    """
    cumulated = p.double().cumsum(1)
    # Scaled by its own end, the last sum is exactly 1 and an expert of probability 0 is never hit.
    passed = cumulated / cumulated[:, -1:] <= uniform.unsqueeze(1)
    return passed.sum(1)


def renormalised(weights: Tensor) -> Tensor:
    """Rows scaled to sum to 1."""
    return weights / weights.sum(1, keepdim=True)


def _by_likelihood(p: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities from the greatest to the smallest, and whose they are."""
    ranked, order = p.sort(dim=1, descending=True, stable=True)
    return ranked, order


def _keep(p: Tensor, experts: Tensor) -> Tensor:
    """Zero but for the experts listed in each row."""
    return torch.zeros_like(p).scatter(1, experts, p.gather(1, experts))
