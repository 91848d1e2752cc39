"""The images in progress: tensors with a slot for each, so that any of them can share a batch.

Images of any shape have slots of one kind: their values are flat there, N of them, as many as the
largest has. What a smaller one leaves of its slot is zero. Batches for networks are of one shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from atoll.flops import Shape
from experts.condition import Conditioning
from experts.flow import per_row
from experts.solvers import time_grid
from router.rows import UNBOUND
from router.sampling import noise_of
from serving.engine.request import Request
from serving.engine.tableau import TABLEAUX

Kept = Mapping[str, Tensor]


@dataclass(slots=True, eq=False)
class Slots:
    """The state of every image, S slots, of which some are free.

    Attributes:
        shapes: that images may have, channels, height and width; the first where none is asked for.
        bucket: which of the shapes each has, (S,) int64.
        x: the image as it is at the start of its step, (S, N).
        first: the velocity there, once it was evaluated, (S, N).
        at: where the field is to be evaluated next, (S, N).
        t: when that is, (S,).
        dt: the length of the present step, (S,).
        cond: what each is conditioned on, (S, ...); None without a condition.
        seed: (S,) int64.
        expert: the one an image is bound to, or UNBOUND, (S,) int64.
        step: steps done, (S,) int64.
        steps: that are to be done, (S,) float64.
        second: whether the next evaluation is the second of its step, (S,) bool.
        reach: of its tableau, (S,).
        weight: of its tableau, (S,).
        guidance: s, (S,).
    """

    shapes: tuple[Shape, ...]
    bucket: Tensor
    x: Tensor
    first: Tensor
    at: Tensor
    t: Tensor
    dt: Tensor
    cond: Tensor | None
    seed: Tensor
    expert: Tensor
    step: Tensor
    steps: Tensor
    second: Tensor
    reach: Tensor
    weight: Tensor
    guidance: Tensor

    @classmethod
    def empty(
        cls,
        num: int,
        shapes: tuple[Shape, ...],
        conditioning: Conditioning,
        device: torch.device,
    ) -> Self:
        """All of them free."""
        whole = torch.zeros(num, dtype=torch.int64, device=device)
        number = torch.zeros(num, device=device)
        pixels = torch.zeros(num, max(map(math.prod, shapes)), device=device)
        return cls(
            shapes=shapes,
            bucket=whole.clone(),
            x=pixels,
            first=pixels.clone(),
            at=pixels.clone(),
            t=number,
            dt=number.clone(),
            cond=conditioning.null(num, device),
            seed=whole,
            expert=whole.clone(),
            step=whole.clone(),
            steps=whole.double() + 1,
            second=whole > 0,
            reach=number.clone(),
            weight=number.clone(),
            guidance=number.clone(),
        )

    @property
    def num_values(self) -> int:
        """N."""
        return self.x.shape[1]

    def fill(self, slot: int, request: Request, position: int) -> None:
        """Begin one image of a request.

        Args:
            slot: a free one.
            request: what is asked for.
            position: of the image in the request.

        Raises:
            ValueError: it is of none of the shapes.
        """
        sampling, seed = request.sampling, request.seeds[position]
        tableau = TABLEAUX[sampling.solver]
        shape = request.shape or self.shapes[0]
        self.bucket[slot] = self.shapes.index(shape)
        noise = noise_of([seed], shape).flatten().to(self.x.device)
        self.x[slot] = self.at[slot] = F.pad(noise, (0, self.num_values - len(noise)))
        if self.cond is not None and request.cond is not None:
            self.cond[slot] = request.cond[position].to(self.cond.device)
        self.seed[slot], self.expert[slot] = seed, UNBOUND
        self.step[slot], self.steps[slot], self.second[slot] = 0, sampling.steps, False
        start, end, *_ = time_grid(sampling.steps)
        self.t[slot], self.dt[slot] = start, end - start
        self.reach[slot], self.weight[slot] = tableau.reach, tableau.weight
        self.guidance[slot] = sampling.guidance

    def by_shape(self, slots: Tensor) -> tuple[Tensor, ...]:
        """The same slots, in batches of images of one shape."""
        if len(self.shapes) == 1:
            return (slots,)
        buckets = self.bucket[slots]
        return tuple(slots[buckets == bucket] for bucket in sorted(set(buckets.tolist())))

    def keep(self, slot: int) -> Kept:
        """How far an image has come, to go on from there in another slot."""
        return {name: tensor[slot].clone() for name, tensor in self._tensors()}

    def go_on(self, slot: int, kept: Kept) -> None:
        """Go on with an image, in a free slot."""
        for name, tensor in self._tensors():
            tensor[slot] = kept[name]

    def advance(self, slots: Tensor, velocity: Tensor) -> Tensor:
        """Move images by the velocities that were found where they were to be evaluated.

        Args:
            slots: whose, (B,).
            velocity: (B, N).

        Returns:
            (B,) bool, which of them have made a step by it.
        """
        x, dt, second, reach = self.x[slots], self.dt[slots], self.second[slots], self.reach[slots]
        weight = per_row(self.weight[slots], x)
        mean = torch.where(
            per_row(second, x), (1 - weight) * self.first[slots] + weight * velocity, velocity
        )
        done = second | (reach == 0)
        length = torch.where(done, dt, reach * dt)
        at = x + per_row(length, x) * mean
        step = self.step[slots] + done
        t, dt = self.times(step, self.steps[slots])
        t = torch.where(done, t, t + length)
        x, second = torch.where(per_row(done, x), at, x), ~done
        # Nothing below needs memory: an image is moved wholly or not at all.
        self.x[slots], self.first[slots], self.at[slots] = x, velocity, at
        self.t[slots], self.dt[slots], self.step[slots], self.second[slots] = t, dt, step, second
        return done

    def points(self, slots: Tensor) -> Tensor:
        """Where the field is to be evaluated next, of images of one shape: (B, C, H, W)."""
        return self._shaped(self.at[slots], slots)

    def painted(self, slots: Tensor) -> Tensor:
        """Images of one shape as they are, (B, C, H, W)."""
        return self._shaped(self.x[slots], slots)

    def estimate(self, slots: Tensor) -> Tensor:
        """What those that have just made a step would become on a straight path, (B, C, H, W)."""
        x = self.x[slots]
        return self._shaped(x - per_row(self.t[slots], x) * self.first[slots], slots)

    def _shaped(self, values: Tensor, slots: Tensor) -> Tensor:
        bucket = int(self.bucket[slots[0]]) if len(self.shapes) > 1 else 0
        shape = self.shapes[bucket]
        return values[:, : math.prod(shape)].reshape(-1, *shape)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for each in fields(self):
            tensor = getattr(self, each.name)
            if isinstance(tensor, Tensor):  # there may be no condition
                yield each.name, tensor

    def times(self, step: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Start and length of a step, as :func:`experts.solvers.time_grid` has them."""
        start, end = 1 - step / steps, 1 - (step + 1) / steps
        return start.to(self.x.dtype), (end - start).to(self.x.dtype)
