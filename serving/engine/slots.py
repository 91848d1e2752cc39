"""The images in progress: tensors with a slot for each, so that any of them can share a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from experts.condition import Conditioning
from experts.dit import Shape
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
        x: the image as it is at the start of its step, (S, C, H, W).
        first: the velocity there, once it was evaluated, (S, C, H, W).
        at: where the field is to be evaluated next, (S, C, H, W).
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
        cls, num: int, shape: Shape, conditioning: Conditioning, device: torch.device
    ) -> Self:
        """All of them free."""
        whole = torch.zeros(num, dtype=torch.int64, device=device)
        number = torch.zeros(num, device=device)
        pixels = torch.zeros(num, *shape, device=device)
        return cls(
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

    def fill(self, slot: int, request: Request, position: int) -> None:
        """Begin one image of a request.

        Args:
            slot: a free one.
            request: what is asked for.
            position: of the image in the request.
        """
        sampling, seed = request.sampling, request.seeds[position]
        tableau = TABLEAUX[sampling.solver]
        self.x[slot] = self.at[slot] = noise_of([seed], self._shape)[0].to(self.x.device)
        if self.cond is not None and request.cond is not None:
            self.cond[slot] = request.cond[position].to(self.cond.device)
        self.seed[slot], self.expert[slot] = seed, UNBOUND
        self.step[slot], self.steps[slot], self.second[slot] = 0, sampling.steps, False
        start, end, *_ = time_grid(sampling.steps)
        self.t[slot], self.dt[slot] = start, end - start
        self.reach[slot], self.weight[slot] = tableau.reach, tableau.weight
        self.guidance[slot] = sampling.guidance

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
            velocity: (B, C, H, W).

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
        t, dt = self._times(step, self.steps[slots])
        t = torch.where(done, t, t + length)
        x, second = torch.where(per_row(done, x), at, x), ~done
        # Nothing below needs memory: an image is moved wholly or not at all.
        self.x[slots], self.first[slots], self.at[slots] = x, velocity, at
        self.t[slots], self.dt[slots], self.step[slots], self.second[slots] = t, dt, step, second
        return done

    def estimate(self, slots: Tensor) -> Tensor:
        """What images that have just made a step would become on a straight path, (B, C, H, W)."""
        x = self.x[slots]
        return x - per_row(self.t[slots], x) * self.first[slots]

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for each in fields(self):
            tensor = getattr(self, each.name)
            if tensor is not None:  # there is no condition
                yield each.name, tensor

    @property
    def _shape(self) -> Shape:
        channels, height, width = self.x.shape[1:]
        return channels, height, width

    def _times(self, step: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Start and length of a step, as :func:`experts.solvers.time_grid` has them."""
        start, end = 1 - step / steps, 1 - (step + 1) / steps
        return start.to(self.x.dtype), (end - start).to(self.x.dtype)
