"""What a gateway asks an expert server, and whether what it answers can be an answer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atoll.errors import BadInput, Busy, Unreachable
from atoll.wire.v1 import experts_pb2 as wire
from serving.remote.tensors import decoded, encoded

WIRE_TYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class Elsewhere(Unreachable):
    """This server has no answer; another may have. It is no fault of this one's."""


@dataclass(frozen=True, slots=True, eq=False)
class RowsAsked:
    """Rows for one expert.

    Attributes:
        expert: its number.
        checkpoint: its digest.
        x_t: (B, C, H, W).
        t: (B,).
        cond: (B, ...); None without.
        row_by_row: see :class:`serving.expert.evaluator.Asked`.
        dtype: of images and velocities on the wire; times and conditions keep theirs.
    """

    expert: int
    checkpoint: str
    x_t: Tensor
    t: Tensor
    cond: Tensor | None
    row_by_row: bool
    dtype: torch.dtype

    def request(self, deadline_s: float) -> wire.EvaluateRequest:
        """For the wire, without its number."""
        return wire.EvaluateRequest(
            expert=self.expert,
            checkpoint=self.checkpoint,
            x_t=encoded(self.x_t, self.dtype),
            t=encoded(self.t, torch.float32),
            cond=None if self.cond is None else encoded(self.cond),
            row_by_row=self.row_by_row,
            deadline_s=deadline_s,
        )

    def velocity(self, response: wire.EvaluateResponse) -> Tensor:
        """What a server says, (B, C, H, W), on the device and of the type of the images.

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
        if velocity.shape != self.x_t.shape:
            raise Unreachable(f"its velocity has shape {tuple(velocity.shape)}")
        if not bool(velocity.isfinite().all()):
            raise Unreachable("its velocity is not finite")
        return velocity.to(self.x_t.device, self.x_t.dtype)
