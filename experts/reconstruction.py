"""An average of any length out of those that were tracked, by least squares between profiles.

Averages are linear in the weights after each step, so what adds up their profiles to another one
adds up the averages to that of the other profile.

Source: Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models
(arXiv 2312.02696), section 3.2 and appendix C.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experts.profiles import exponent

_SMALLEST = 1e-12  # of a singular value beside the largest: below it there is rounding alone


@dataclass(frozen=True, slots=True)
class Profile:
    """How an average weighs the steps up to its own: by t^g, see :func:`experts.profiles.exponent`.

    Attributes:
        step: after which it was taken.
        length: its standard deviation, as a part of these steps.
    """

    step: int
    length: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """How much of each tracked average makes the wanted one.

    Attributes:
        parts: of each, in the order they were given; they add up to 1.
        error: distance of the mixed profile to the wanted one, beside the norm of that.
    """

    parts: tuple[float, ...]
    error: float


def mixture_of(tracked: Sequence[Profile], wanted: Profile) -> Mixture:
    """The mixture of profiles that is nearest to another."""
    ours, theirs = _columns(tracked), _columns([wanted])
    gram, towards = _inner(ours, ours), _inner(ours, theirs)[:, 0]
    square = float(_inner(theirs, theirs)[0, 0])
    parts = np.linalg.lstsq(gram, towards, rcond=_SMALLEST)[0]
    parts /= parts.sum()
    distance = float(1 - (2 * parts @ towards - parts @ gram @ parts) / square)
    return Mixture(tuple(parts.tolist()), math.sqrt(max(0.0, distance)))


def mixed(averages: Iterable[tuple[float, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """Averages, each so many times, added up in float64; one after the other is asked for.

    Args:
        averages: parts, and tensors by name; every average has the same.

    Returns:
        Tensors of the types they had.
    """
    total: dict[str, Tensor] = {}
    types: dict[str, torch.dtype] = {}
    for part, tensors in averages:
        for name, tensor in tensors.items():
            types[name] = tensor.dtype
            total[name] = total.get(name, 0) + part * tensor.double()
    return {name: tensor.to(types[name]) for name, tensor in total.items()}


_Columns = tuple[NDArray[np.float64], NDArray[np.float64]]


def _columns(profiles: Sequence[Profile]) -> _Columns:
    steps = np.array([each.step for each in profiles], dtype=np.float64)
    return steps, np.array([exponent(each.length) for each in profiles])


def _inner(ones: _Columns, others: _Columns) -> NDArray[np.float64]:
    """Integrals over the steps of the products of all pairs of profiles, of integral 1 each."""
    (a, g), (b, h) = ((*ones,), (*others,))
    a, g = a[:, None], g[:, None]
    ratio = np.where(a < b, (a / b) ** h, (b / a) ** g)
    found: NDArray[np.float64] = (g + 1) * (h + 1) / (g + h + 1) * ratio / np.maximum(a, b)
    return found
