"""How an average of weights remembers: which part of it each step's weights become.

Sources: the exponential profile is the usual one; the power profile is of Karras et al., Analyzing
and Improving the Training Dynamics of Diffusion Models (arXiv 2312.02696), section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from atoll.training_section import TrainingSection

Share = Callable[[int], float]
"""The part of an average that weights become, after so many steps were averaged already."""


def shares_of(training: TrainingSection) -> tuple[Share, ...]:
    """Of each average that a job tracks; the first one is that to sample from."""
    if training.ema_profile == "power":
        return tuple(power(length) for length in training.ema_lengths)
    return (exponential(training.ema_decay),)


def told_of(training: TrainingSection) -> dict[str, Any]:
    """What a checkpoint tells of its averages."""
    if training.ema_profile == "power":
        return {"ema_lengths": list(training.ema_lengths)}
    return {"ema_decay": training.ema_decay}


def told_in(about: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`told_of` put among other things that a checkpoint tells."""
    return {key: about[key] for key in ("ema_decay", "ema_lengths") if key in about}


def exponential(decay: float) -> Share:
    """The profile of a fixed memory, which grows up to it.

    With n steps averaged a step keeps min(decay, (1 + n) / (10 + n)) of what was, so that a short
    run is not held back by its first weights; those after the first step are taken as they are.
    """
    return lambda num: 1 - min(decay, (1 + num) / (10 + num)) if num else 1.0


def power(length: float) -> Share:
    """The profile of a memory that is the same part of any training: t^g over the steps t so far.

    A step keeps (1 - 1 / t)^(g + 1) of what was, which is nothing after the first; see
    :func:`exponent`.
    """
    kept = exponent(length) + 1
    return lambda num: 1 - (1 - 1 / (num + 1)) ** kept


def exponent(length: float) -> float:
    """The g of a power profile whose standard deviation is that part of a training.

    From length^2 = (g + 1) / ((g + 2)^2 (g + 3)), a cubic with one root above 0.

    Args:
        length: above 0 and below 1 / sqrt(12), which an average of equal parts has.

    Source: Karras et al. (arXiv 2312.02696), appendix C.
    """
    inverse = length**-2
    return float(np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse]).real.max())
