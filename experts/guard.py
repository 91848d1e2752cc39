"""Which steps are taken, judged by those before them where the gradients are: nobody waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from atoll.training_section import TrainingSection
from experts.engine import Stats

_KNOWN = 20  # steps before anything is called a spike: losses fall fast at first
_WINDOW = 100  # steps that the means remember


class Guard:
    """Refuses steps whose loss or gradient is not finite, or leaps above what it was.

    All processes of an island are told the same of a step, so that they judge alike.

    Args:
        training: how much is a leap.
        device: where steps are made.
        saved: what :meth:`as_json` gave earlier.
    """

    def __init__(
        self, training: TrainingSection, device: torch.device, saved: Mapping[str, Any] | None
    ) -> None:
        saved = saved or {"means": [0.0, 0.0], "num": 0.0}
        self._factor = training.spike_factor
        self._means = torch.tensor(saved["means"], device=device)  # of loss and gradient norm
        self._num = torch.tensor(saved["num"], device=device)  # steps that were taken

    def judge(self, stats: Stats) -> Tensor:
        """Whether a step shall be taken, a bool scalar on the device.

        Args:
            stats: of the step, before anything is changed by it.
        """
        told = torch.stack((stats.loss, stats.grad_norm)).float()
        leaps = (told > self._factor * self._means).any() & (self._num >= _KNOWN)
        taken = told.isfinite().all() & ~leaps
        share = 1 / (self._num + 1).clamp(max=_WINDOW)
        self._means = torch.where(taken, self._means.lerp(told, share), self._means)
        self._num = self._num + taken
        return taken

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint, exactly."""
        return {"means": self._means.tolist(), "num": self._num.item()}
