"""The learning rate of each step, as a part of ``training.learning_rate``.

With N steps, of which W warm up, n of them done:

=========== ====================================================================================
constant    1
linear      1 - (n - W) / (N - W)
cosine      (1 + cos(pi (n - W) / (N - W))) / 2
refined     see :func:`refined`
=========== ====================================================================================

While warming up it is (n + 1) / W. Each would reach zero with step N + 1, so that no step is made
in vain.

Sources: Defazio et al., When, Why and How Much? Adaptive Learning Rate Scheduling by Refinement
(arXiv 2310.07831), section 2 for linear decay; Loshchilov and Hutter, SGDR (arXiv 1608.03983),
equation 5, without restarts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from atoll import layout
from atoll.blobs import BlobStore
from atoll.training_section import TrainingSection

# The learning rate of the step after so many.
Rate = Callable[[int], float]

_SMOOTHED = 0.1  # of a curve, the paper's tau


def rate_of(training: TrainingSection, norms: Sequence[tuple[int, float]] = ()) -> Rate:
    """The learning rate that a job's settings ask for.

    Args:
        training: schedule, its steps and warm-up, and the rate it starts from.
        norms: see :func:`refined`; for a refined schedule alone.
    """
    most, num_steps, warmup = training.learning_rate, training.steps, training.warmup_steps
    if training.schedule == "refined":
        factors = refined(norms, num_steps)
        return lambda num_done: most * float(factors[num_done])

    def rate(num_done: int) -> float:
        if num_done < warmup:
            return most * ((num_done + 1) / warmup)
        if training.schedule == "constant":  # which may warm up in all of its steps
            return most
        return most * _decayed(training.schedule, (num_done - warmup) / (num_steps - warmup))

    return rate


def stored_norms(store: BlobStore, job: str) -> list[tuple[int, float]]:
    """The curve that `atoll train` laid down for a job with a refined schedule.

    Raises:
        BlobMissing: it is gone.
    """
    tree = json.loads(store.get_bytes(layout.refined_schedule(job)))
    return [(step, norm) for step, norm in tree["points"]]


def refined(norms: Sequence[tuple[int, float]], num_steps: int) -> npt.NDArray[np.float64]:
    """The schedule that a bound on the last iterate asks for, given how large gradients were.

    For weights w of the steps, eta_t is proportional to w_t times the sum of all later weights
    (theorem 1). The weights are those for Adam, 1 / G_t: dividing by the root of the second moment
    turns the squared norm of the bound into the l1 norm. G are the l2 norms that every engine knows
    and every curve has; where the ratio of the two norms is the same all along, it cancels, because
    the largest factor is made 1. For SGD the weights would be 1 / G_t^2.

    G is smoothed by a median over a tenth of the curve, padded by its mirror image at the end and
    by its first value at the beginning (algorithm 1). What N steps make is iterate N + 1, whose own
    gradient is taken for as large as the one before. Constant norms give linear decay.

    Args:
        norms: steps done and norm of the gradients there, in ascending order; the last one is at
            the end of a training that may have been of another length.
        num_steps: N.

    Returns:
        The factor of each step, (N,), the largest of them 1.

    Source: Defazio et al. (arXiv 2310.07831), section 3.
    """
    from scipy.ndimage import median_filter  # noqa: PLC0415 - most jobs have no use for it

    steps, sizes = (np.array(column, dtype=np.float64) for column in zip(*norms, strict=True))
    width = 2 * (int(_SMOOTHED * len(sizes)) // 2) + 1
    padded = np.pad(sizes, (0, 2 * width), mode="reflect")
    smoothed = median_filter(padded, size=width, mode="nearest")[: len(sizes)]
    places = np.arange(1, num_steps + 1) / num_steps
    weights = 1 / np.interp(places, steps / steps[-1], smoothed)
    later = np.append(weights, weights[-1])[::-1].cumsum()[::-1][1:]
    schedule: npt.NDArray[np.float64] = weights * later / np.max(weights * later)
    return schedule


def _decayed(schedule: str, part: float) -> float:
    """What is left of the rate after a part of the steps that follow the warm-up."""
    if schedule == "linear":
        return 1 - part
    return (1 + math.cos(math.pi * part)) / 2
