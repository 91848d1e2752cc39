"""This machine's memory as a tier between disk and a GPU: what was read once is not read again."""

from __future__ import annotations

from collections.abc import Collection

import torch

from serving.memory.source import Source, Weights


class HostMemory:
    """For one thread."""

    def __init__(self, budget_bytes: float, device: torch.device) -> None:
        """Nothing is kept yet.

        Args:
            budget_bytes: that weights kept here may take together; 0 keeps none, as is right where
                the device is this machine's processor and its memory the same.
            device: where experts are needed.
        """
        self._budget_bytes, self._device = budget_bytes, device
        self._kept: dict[str, tuple[int, Weights]] = {}  # the least recently used first
        is_cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if is_cuda else None  # type: ignore[no-untyped-call]

    def weights(self, source: Source) -> Weights:
        """Those of a source, from here or from disk; raises what the source raises."""
        if source.key in self._kept:
            self._kept[source.key] = self._kept.pop(source.key)
            return self._kept[source.key][1]
        weights = source.read()
        if self._stream is not None:
            weights = {name: tensor.pin_memory() for name, tensor in weights.items()}
        if source.num_bytes <= self._budget_bytes:
            self._kept[source.key] = source.num_bytes, weights
            while sum(num_bytes for num_bytes, _ in self._kept.values()) > self._budget_bytes:
                del self._kept[next(iter(self._kept))]
        return weights

    def has(self, source: Source) -> bool:
        """Whether its weights need not be read."""
        return source.key in self._kept

    def keep_only(self, keys: Collection[str]) -> None:
        """All others are out of use."""
        self._kept = {key: kept for key, kept in self._kept.items() if key in keys}

    def on_device(self, weights: Weights) -> Weights:
        """Weights where experts are needed, once they are there; the device draws on meanwhile."""
        if self._stream is None:
            return weights
        # Allocated for the stream that draws, which will use and free them; what it still does in
        # memory that was free a moment ago has to be over before anything is written there.
        copies = {
            name: torch.empty_like(tensor, device=self._device) for name, tensor in weights.items()
        }
        self._stream.wait_stream(torch.cuda.default_stream(self._device))
        with torch.cuda.stream(self._stream):
            for name, copy in copies.items():
                copy.copy_(weights[name], non_blocking=True)
        self._stream.record_event().synchronize()
        return copies
