"""Noise on embedded conditions, in training alone.

A caption's embedding is a tensor before the network sees it; a class is embedded inside, so there
what is added goes with its number, see :class:`experts.embeddings.LabelEmbedder`. That a condition
is absent is told without noise.

Source: Chen et al., Slight Corruption in Pre-training Data Makes Better Diffusion Models (arXiv
2405.20494).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from experts.condition import Conditioning


@dataclass(frozen=True, slots=True)
class Perturbation:
    """How conditions are perturbed.

    Attributes:
        gamma: the noise has a standard deviation of gamma / sqrt(d), where d is the length of an
            embedding; so its own length is about gamma.
        conditioning: what is told, class or text.
        width: of the network, which is the length of a class's embedding.
    """

    gamma: float
    conditioning: Conditioning
    width: int

    def sample(self, num: int, rows: slice, generator: torch.Generator) -> Tensor:
        """Draw what is added to some rows of a step: (n, d), or (n, tokens, d), float32.

        Of the whole step a seed for each row is drawn, and not the noise itself, which the rows of
        other processes would make large: 77 tokens of 768 numbers are 236 KB for each row.

        Args:
            num: rows of the whole step.
            rows: which of them these are.
            generator: of the step.
        """
        row = self.conditioning.row or (self.width,)
        seeds = torch.randint(2**63 - 1, (num,), generator=generator)[rows].tolist()
        noise = torch.empty(len(seeds), *row)
        for each, seed in zip(noise, seeds, strict=True):
            each.normal_(generator=torch.Generator().manual_seed(seed))
        return noise.mul_(self.gamma / math.sqrt(row[-1]))

    def add(self, cond: Tensor, noise: Tensor) -> Tensor:
        """Conditions that are perturbed when they are embedded.

        Args:
            cond: as :mod:`experts.condition` has them, some of them absent.
            noise: of these rows.

        Returns:
            Captions' embeddings, of the same shape; or (B, 1 + d) float32, the numbers of classes
            and what is added to their embeddings.
        """
        if self.conditioning.kind == "class":
            told = cond.unsqueeze(1)
            return torch.cat([told.float(), noise * (told != self.conditioning.size)], dim=1)
        return cond + noise * cond.any(-1, keepdim=True)  # padding, too, is told by zeros
