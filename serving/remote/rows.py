"""What a gateway asks an expert server, and whether what it answers can be an answer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from atoll.errors import BadInput, Busy, Unreachable
from atoll.wire.v1 import experts_pb2 as wire
from serving.engine.stretch import Stretch
from serving.remote.conditions import Told
from serving.remote.tensors import MAX_MESSAGE_BYTES, decoded, encoded

WIRE_TYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


_OVERHEAD = 1024  # bytes of a message around its tensors
_SHARE = 0.5  # of the time there is, after which a server says how far a stretch came


class Elsewhere(Unreachable):
    """This server has no answer; another may have. It is no fault of this one's."""


class Asked(ABC):
    """What one expert is asked: rows, or a stretch.

    Attributes:
        expert: its number.
        checkpoint: its digest.
        row_by_row: see :class:`serving.expert.evaluator.Asked`.
        dtype: of images and velocities on the wire; times and conditions keep theirs.
    """

    expert: int
    checkpoint: str
    row_by_row: bool
    dtype: torch.dtype

    @property
    @abstractmethod
    def num_rows(self) -> int:
        """That are evaluated at once."""

    @property
    @abstractmethod
    def num_further(self) -> int:
        """Rows that are evaluated after these."""

    @property
    @abstractmethod
    def condition(self) -> Tensor | None:
        """That of each image, (B, ...); None without."""

    @abstractmethod
    def bare(self, deadline_s: float) -> wire.EvaluateRequest:
        """For the wire, without its number and without conditions."""

    def request(self, deadline_s: float) -> wire.EvaluateRequest:
        """For the wire, without its number. Raises: BadInput, no message has room for it."""
        request, cond = self.bare(deadline_s), self.condition
        if cond is not None:
            if cond.nbytes + request.ByteSize() + _OVERHEAD > MAX_MESSAGE_BYTES:
                raise BadInput(
                    f"the conditions of {len(cond)} rows have {cond.nbytes / 2**20:.0f} MiB, and a "
                    f"message has {MAX_MESSAGE_BYTES >> 20}; raise expert_server.conditions_mb, or "
                    "lower serving.batch_rows"
                )
            request.cond.CopyFrom(encoded(cond))
        return request

    def messages(self, deadline_s: float, told: Told) -> list[wire.EvaluateRequest]:
        """The same, with its conditions in messages before it, as far as they are not known there.

        Args:
            deadline_s: for the answer.
            told: what the server knows.

        Raises:
            BadInput: as :meth:`request`, where they are all sent.
        """
        cond = self.condition
        if cond is None or not told.is_worth(cond):
            return [self.request(deadline_s)]
        before, keys = told.tell(cond)
        request = self.bare(deadline_s)
        request.cond_keys.extend(keys)
        return [*before, request]

    @abstractmethod
    def fits(self, velocity: Tensor) -> bool:
        """Whether a velocity has a shape that an answer may have."""

    @property
    @abstractmethod
    def images(self) -> Tensor:
        """At their points: answers are of their type, on their device."""

    def velocity(self, response: wire.EvaluateResponse) -> Tensor:
        """What a server says, on the device and of the type of the images.

        Raises:
            BadInput: no server can take these rows.
            Elsewhere: this one has no room, or leaves, or it is too late.
            Unreachable: it does not answer as an expert would.
        """
        match response.refusal:
            case wire.REFUSAL_UNSPECIFIED:
                return self._checked(response)
            case wire.REFUSAL_BUSY:
                raise Busy(response.reason)
            case wire.REFUSAL_LATE | wire.REFUSAL_LEAVING:
                raise Elsewhere(response.reason)
            case wire.REFUSAL_UNUSABLE:
                raise BadInput(response.reason)
            case _:
                raise Unreachable(response.reason or f"it refuses with {response.refusal}")

    def _checked(self, response: wire.EvaluateResponse) -> Tensor:
        try:
            velocity = decoded(response.velocity, "velocity", (self.dtype,))
        except BadInput as error:
            raise Unreachable(str(error)) from error
        if not self.fits(velocity):
            raise Unreachable(f"its velocity has shape {tuple(velocity.shape)}")
        if not bool(velocity.isfinite().all()):
            raise Unreachable("its velocity is not finite")
        return velocity.to(self.images.device, self.images.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class RowsAsked(Asked):
    """Rows, each at a point of its own; see :class:`Asked`.

    Attributes:
        x_t: (B, C, H, W).
        t: (B,).
        cond: (B, ...); None without.
    """

    expert: int
    checkpoint: str
    x_t: Tensor
    t: Tensor
    cond: Tensor | None
    row_by_row: bool
    dtype: torch.dtype

    @property
    def num_rows(self) -> int:
        """See :class:`Asked`."""
        return len(self.t)

    @property
    def num_further(self) -> int:
        """See :class:`Asked`."""
        return 0

    @property
    def images(self) -> Tensor:
        """See :class:`Asked`."""
        return self.x_t

    @property
    def condition(self) -> Tensor | None:
        """See :class:`Asked`."""
        return self.cond

    def fits(self, velocity: Tensor) -> bool:
        """See :class:`Asked`."""
        return velocity.shape == self.x_t.shape

    def bare(self, deadline_s: float) -> wire.EvaluateRequest:
        """See :class:`Asked`."""
        return wire.EvaluateRequest(
            expert=self.expert,
            checkpoint=self.checkpoint,
            x_t=encoded(self.x_t, self.dtype),
            t=encoded(self.t, torch.float32),
            row_by_row=self.row_by_row,
            deadline_s=deadline_s,
        )


@dataclass(frozen=True, slots=True, eq=False)
class StretchAsked(Asked):
    """Images to be drawn for a while; see :class:`Asked`.

    Attributes:
        stretch: which.
    """

    expert: int
    checkpoint: str
    stretch: Stretch
    row_by_row: bool
    dtype: torch.dtype

    @property
    def num_rows(self) -> int:
        """See :class:`Asked`."""
        return self.stretch.num_rows

    @property
    def num_further(self) -> int:
        """See :class:`Asked`."""
        return (self.stretch.evaluations - 1) * self.stretch.num_rows

    @property
    def images(self) -> Tensor:
        """See :class:`Asked`."""
        return self.stretch.x

    @property
    def condition(self) -> Tensor | None:
        """See :class:`Asked`."""
        return self.stretch.cond

    def fits(self, velocity: Tensor) -> bool:
        """See :class:`Asked`."""
        rows = (self.stretch.num_rows, *self.images.shape[1:])
        return velocity.shape[1:] == rows and 1 <= len(velocity) <= self.stretch.evaluations

    def bare(self, deadline_s: float) -> wire.EvaluateRequest:
        """See :class:`Asked`."""
        told = self.stretch
        deadline_s = deadline_s * _SHARE
        return wire.EvaluateRequest(
            expert=self.expert,
            checkpoint=self.checkpoint,
            x_t=encoded(told.x, self.dtype),
            row_by_row=self.row_by_row,
            deadline_s=deadline_s,
            stretch=wire.Stretch(
                evaluations=told.evaluations,
                step=told.step.tolist(),
                steps=told.steps.long().tolist(),
                reach=told.reach.tolist(),
                weight=told.weight.tolist(),
                guidance=told.guidance.tolist(),
                reuse_blocks=told.thrift.blocks,
                displaced=told.thrift.displaced,
                reuse_change=None if math.isinf(told.thrift.change) else told.thrift.change,
            ),
        )
