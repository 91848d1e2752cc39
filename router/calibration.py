"""How well a gate knows the clusters apart, and how well it knows that, as noise grows.

Source for the calibration error: Guo et al., On Calibration of Modern Neural Networks (arXiv
1706.04599), section 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atoll.errors import BadInput
from experts.flow import linear_path, seeded
from router.gate import Gate

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Images whose cluster is known.

    Attributes:
        x0: (B, C, H, W), as networks take them.
        cond: as the gate takes it; None without a condition.
        cluster: (B,) int64.
    """

    x0: Tensor
    cond: Tensor | None
    cluster: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What was measured, for T ranges of time and C ranges of confidence.

    Attributes:
        times: (T + 1,), the ends of the ranges of t.
        accuracy: (T,), share of images whose likeliest cluster is their own.
        cross_entropy: (T,), mean of -log p(own cluster), nats.
        mean_confidence: (T,), mean probability of the likeliest cluster.
        calibration_error: (T,), mean distance of confidence from accuracy over the ranges of
            confidence, weighted by how many images are in each (ECE).
        confidence: (T, C), images by the probability of their likeliest cluster, from 0 to 1.
        sure: (C,), mean of that probability in its range, over all t; 0 where no image is.
        right: (C,), share of those images whose likeliest cluster is their own; 0 where none is.
        confusion: (K, K), images over all t, by own cluster (rows) and likeliest (columns).
    """

    times: Floats
    accuracy: Floats
    cross_entropy: Floats
    mean_confidence: Floats
    calibration_error: Floats
    confidence: Counts
    sure: Floats
    right: Floats
    confusion: Counts


@torch.inference_mode()
def calibrate(
    gate: Gate,
    batches: Iterable[Known],
    *,
    seed: int,
    num_times: int = 10,
    num_confidences: int = 20,
) -> Calibration:
    """Noise known images at evenly spread times and compare the gate's answers.

    Args:
        gate: who is asked.
        batches: images it should be judged on; each is asked once in every range of t.
        seed: of noise and times.
        num_times: T.
        num_confidences: C.

    Returns:
        See :class:`Calibration`.

    Raises:
        BadInput: an answer is not a number.
    """
    p, cluster, time = _answers(gate, batches, seed, num_times)
    if not p.isfinite().all():
        raise BadInput(
            "the probabilities of the gate are not finite: it has diverged; train the router again "
            "with a smaller router.learning_rate under a run.uri of its own"
        )
    num_experts = p.shape[1]
    confidence, choice = p.max(1)
    own = p.gather(1, cluster.unsqueeze(1)).squeeze(1)
    right = (choice == cluster).double()
    level = (confidence * num_confidences).long().clamp(max=num_confidences - 1)

    per_time = time.bincount(minlength=num_times).double()
    per_level = level.bincount(minlength=num_confidences).double().clamp(min=1)
    cell = time * num_confidences + level
    num_cells = num_times * num_confidences

    def summed(values: Tensor, index: Tensor, num: int) -> Tensor:
        return index.bincount(weights=values, minlength=num)

    gap = summed(confidence - right, cell, num_cells).abs().reshape(num_times, num_confidences)
    # A cluster held for impossible costs much, but not infinitely much.
    surprise = -own.clamp(min=torch.finfo(torch.float32).tiny).log()
    return Calibration(
        times=np.linspace(0, 1, num_times + 1),
        accuracy=(summed(right, time, num_times) / per_time).numpy(),
        cross_entropy=(summed(surprise, time, num_times) / per_time).numpy(),
        mean_confidence=(summed(confidence, time, num_times) / per_time).numpy(),
        calibration_error=(gap.sum(1) / per_time).numpy(),
        confidence=cell.bincount(minlength=num_cells).reshape(num_times, -1).numpy(),
        sure=(summed(confidence, level, num_confidences) / per_level).numpy(),
        right=(summed(right, level, num_confidences) / per_level).numpy(),
        confusion=(cluster * num_experts + choice)
        .bincount(minlength=num_experts**2)
        .reshape(num_experts, -1)
        .numpy(),
    )


def _answers(
    gate: Gate, batches: Iterable[Known], seed: int, num_times: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Each image's posterior (M, K) float64, its cluster (M,), and its range of t (M,)."""
    posteriors, clusters, times = [], [], []
    for number, known in enumerate(batches):
        generator = seeded(known.x0.device, seed, number)
        for time in range(num_times):
            within = torch.rand(len(known.x0), generator=generator, device=known.x0.device)
            noise = torch.randn(known.x0.shape, generator=generator, device=known.x0.device)
            point = linear_path(known.x0, noise, (time + within) / num_times)
            posteriors.append(gate(point.x_t, point.t, known.cond).double().cpu())
            clusters.append(known.cluster.cpu())
            times.append(torch.full((len(known.x0),), time))
    return torch.cat(posteriors), torch.cat(clusters), torch.cat(times)
