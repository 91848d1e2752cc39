"""Memory for what is said in stretches, until it is sent."""

from __future__ import annotations

import threading
import weakref

import torch
from torch import Tensor


class Room:
    """Shared by threads; what is taken comes back with the tensor's end, whatever ends it."""

    def __init__(self, most_bytes: int) -> None:
        """All of it is free.

        Args:
            most_bytes: that tensors take at once, but for the first parts of each.
        """
        self._free_bytes = most_bytes
        self._guard = threading.RLock()  # a collection of garbage may give back within

    @property
    def free_bytes(self) -> int:
        """What is left; below 0 where all of many have taken their least."""
        with self._guard:
            return self._free_bytes

    def parts(self, most: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """An empty tensor on the CPU, of as many parts as there is room for, and one at least.

        Args:
            most: parts.
            shape: of each.
            dtype: of all.
        """
        each_bytes = torch.Size(shape).numel() * dtype.itemsize
        with self._guard:
            num = max(1, min(most, self._free_bytes // max(each_bytes, 1)))
            self._free_bytes -= num * each_bytes
        tensor = torch.empty(num, *shape, dtype=dtype)
        # Parts of a tensor do not keep it, but its memory.
        weakref.finalize(tensor.untyped_storage(), self._give, num * each_bytes)
        return tensor

    def _give(self, num_bytes: int) -> None:
        with self._guard:
            self._free_bytes += num_bytes
