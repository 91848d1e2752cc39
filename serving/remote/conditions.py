"""Large conditions cross the wire once: a server is told of them, and knows them by their digests.

The condition of a text-to-image model is larger than the latents that it is about: 77 tokens of 768
numbers have 231 KiB, a latent image of 4 x 32 x 32 has 16. It is the same at every step.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from atoll.clock import Clock
from atoll.wire.v1 import experts_pb2 as wire
from serving.remote.tensors import encoded, type_of

_LEAST_BYTES = 1024  # of a row, below which its digest would save little
_MOST_TOLD_BYTES = 32 << 20  # in one message
_PAUSE_S = 10.0  # with telling, after a server did not know what it was told


def is_large(cond: Tensor | None) -> bool:
    """Whether rows of this kind are worth being told once."""
    return cond is not None and len(cond) > 0 and cond[0].nbytes >= _LEAST_BYTES


def key_of(row: Tensor) -> bytes:
    """By what a server knows the condition of one image: sha256 of type, shape and numbers.

    Args:
        row: on the CPU, contiguous.
    """
    header = struct.pack(f"<{2 + row.dim()}Q", type_of(row.dtype), row.dim(), *row.shape)
    digest = hashlib.sha256(header)
    digest.update(row.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


class Told:
    """What one server was told, as far as its caller remembers."""

    def __init__(self, clock: Clock) -> None:
        """Nothing yet, and it may have room for nothing."""
        self._clock = clock
        self.room_bytes = 0  # for those of all callers, as the server said last
        self.generation = 0  # of what is remembered
        self._missed_at = -math.inf
        self._full_until = -math.inf  # until when all are sent
        self._keys: OrderedDict[bytes, int] = OrderedDict()  # bytes of each
        self._num_bytes = 0

    def missed(self, generation: int) -> None:
        """It knew one no more: it was started anew, or others have taken the room.

        In the first case all are told anew. In the second it does not know those either, and for a
        while all are sent.

        Args:
            generation: by which it was asked; of a former one that is no news.
        """
        if generation != self.generation:
            return
        now = self._clock.monotonic()
        if now - self._missed_at < _PAUSE_S:
            self._full_until = now + _PAUSE_S
        self._missed_at = now
        self.generation += 1
        self._keys.clear()
        self._num_bytes = 0

    def is_worth(self, cond: Tensor | None) -> bool:
        """Whether to tell these, and go by their keys, rather than send them with the rows."""
        if cond is None or not is_large(cond) or self._clock.monotonic() < self._full_until:
            return False
        return cond.nbytes <= self.room_bytes

    def tell(self, cond: Tensor) -> tuple[list[wire.EvaluateRequest], list[bytes]]:
        """What to send before a request, and the keys that stand in it for the conditions.

        Args:
            cond: (B, ...), see :meth:`is_worth`.
        """
        here = cond.detach().to("cpu").contiguous()
        keys = [key_of(row) for row in here]
        untold = [place for place, key in enumerate(keys) if self._is_new(key, here[0].nbytes)]
        return [
            wire.EvaluateRequest(conditions=encoded(here[part])) for part in _parts(here, untold)
        ], keys

    def _is_new(self, key: bytes, num_bytes: int) -> bool:
        is_new = key not in self._keys
        self._keys[key] = num_bytes
        self._keys.move_to_end(key)
        self._num_bytes += num_bytes if is_new else 0
        while self._num_bytes > self.room_bytes:
            self._num_bytes -= self._keys.popitem(last=False)[1]
        return is_new


def _parts(cond: Tensor, places: Sequence[int]) -> Iterator[Sequence[int]]:
    """Places of rows that go into one message each."""
    most = max(1, _MOST_TOLD_BYTES // cond[0].nbytes)
    for begin in range(0, len(places), most):
        yield places[begin : begin + most]
