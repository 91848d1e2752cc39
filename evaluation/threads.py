"""Many small networks on a few cores: a batch on each core beats all cores on each batch.

A product of small matrices that is split between threads waits for the slowest of them, thousands
of times a second; on a machine with other work to do that can take ten times as long. Threads of
one batch each wait for nobody, and the sums come out the same however many there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


@contextlib.contextmanager
def single_threaded() -> Iterator[int]:
    """Run torch's operations on one thread each; gives how many they had before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def spread(work: Callable[[T], R], items: Iterable[T], device: torch.device) -> Iterator[R]:
    """Map, an item on each core; results in order. An accelerator is given one at a time."""
    with (
        single_threaded() as cores,
        ThreadPoolExecutor(1 if device.type != "cpu" else cores) as threads,
    ):
        yield from threads.map(work, items)
