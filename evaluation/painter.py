"""Painting the images of one row, and counting what they cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atoll.errors import BadInput
from atoll.sections import SamplingSection
from evaluation.real import RealImages
from evaluation.results import Cost
from evaluation.threads import spread
from router.cost import Meter
from router.ensemble import Routing
from router.sampling import Sampler, Wanted


@dataclass(frozen=True, slots=True)
class Prices:
    """Floating-point operations of one forward pass on one image."""

    expert: float
    gate: float


class Tally:
    """Watches an ensemble: how often it was asked, and how much weight each expert had."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # batches are painted side by side
        self._meter = Meter()
        self._weight: Tensor | float = 0.0
        self._rows = 0

    def __call__(self, routing: Routing) -> None:
        """Take note of one evaluation of a batch."""
        weight = routing.weights.double().sum(0).cpu()
        with self._lock:
            self._meter(routing)
            self._weight = self._weight + weight
            self._rows += len(routing.weights)

    def cost(self, num_images: int, seconds: float, prices: Prices) -> Cost:
        """What the images painted meanwhile took."""
        assert isinstance(self._weight, Tensor)
        work = self._meter.per_image(num_images)
        return Cost(
            gflops_per_image=work.flops(prices.expert, prices.gate) / 1e9,
            experts_per_step=work.expert_evaluations * num_images / self._rows,
            usage=tuple((self._weight / self._rows).tolist()),
            seconds=seconds,
        )


def wanted(real: RealImages, seed: int, num: int) -> Wanted:
    """The images every row paints: each conditioned as one of the real images.

    So classes, and clusters within a class, come as often as the data have them. The clusters are
    for the oracle alone; without them the gate decides.

    Args:
        real: what the conditions are taken from, in order, again from the start if need be.
        seed: of the run.
        num: how many.
    """
    place = torch.arange(num) % len(real)
    seeds = np.random.default_rng(seed).integers(2**62, size=num)
    return Wanted(
        seeds=seeds.tolist(),
        cond=None if real.cond is None else real.cond[place],
        experts=torch.from_numpy(real.clusters)[place],
    )


def draw(
    sampler: Sampler, images: Wanted, settings: SamplingSection, name: str
) -> NDArray[np.uint8]:
    """All wanted images, (N, H, W, C) uint8, made sure to be images.

    Turned into a pixel, what is not a number would look like any other.

    Args:
        sampler: whose ensemble paints.
        images: which.
        settings: solver, steps, guidance and batch size.
        name: of what paints, for the error.

    Raises:
        BadInput: a value is infinite or not a number.
    """
    x0 = torch.cat(list(sampler.batches(images, settings)))
    if not x0.isfinite().all():
        raise BadInput(
            f"what {name} paints is not finite: its networks have diverged, or the guidance is too "
            "strong; lower sampling.guidance if it is above 1, or train again with a smaller "
            "training.learning_rate under a run.uri of its own"
        )
    return sampler.decode(x0)


def paint(
    sampler: Sampler,
    images: Wanted,
    settings: SamplingSection,
    prices: Prices,
    progress: Callable[[int], None],
    *,
    name: str,
) -> tuple[NDArray[np.uint8], Cost]:
    """Draw images and count.

    Args:
        sampler: whose ensemble paints.
        images: which.
        settings: solver, steps, guidance and batch size.
        prices: of the networks.
        progress: called with the images done so far.
        name: of the row, for the error.

    Returns:
        (N, H, W, C) uint8, and what they took.

    Raises:
        BadInput: they are not finite.
    """
    tally = Tally()
    watched = replace(sampler, ensemble=replace(sampler.ensemble, watch=tally))
    started, done = time.perf_counter(), []
    batches = _batches(images, settings.batch_size)
    for batch in spread(lambda part: draw(watched, part, settings, name), batches, sampler.device):
        done.append(batch)
        progress(sum(map(len, done)))
    painted = np.concatenate(done)
    return painted, tally.cost(len(painted), time.perf_counter() - started, prices)


def _batches(images: Wanted, size: int) -> Iterator[Wanted]:
    for start in range(0, len(images.seeds), size):
        part = slice(start, start + size)
        yield Wanted(
            images.seeds[part],
            None if images.cond is None else images.cond[part],
            None if images.experts is None else images.experts[part],
        )
