"""Round trips to a remote expert, again and again; see benchmarks/wires.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from served import drawn_from
from torch import Tensor

_WARM = 10


def given_of(size: str, num_rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows for an expert: images, times and classes."""
    shape = drawn_from(size).shape
    return torch.randn(num_rows, *shape), torch.rand(num_rows), torch.arange(num_rows) % 10


def timed(ask: Callable[[], object], num: int) -> dict[str, float]:
    """Milliseconds of one call: the median, and what 95% take at most."""
    took = []
    for _ in range(num + _WARM):
        began_at = time.perf_counter()
        ask()
        took.append(1000 * (time.perf_counter() - began_at))
    took = took[_WARM:]
    return {
        "p50_ms": round(statistics.median(took), 2),
        "p95_ms": round(statistics.quantiles(took, n=20)[-1], 2),
    }
