"""What a training process says that ran out of memory."""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterator

import torch

from atoll.errors import OutOfMemory
from atoll.types import JobSpec, Role

# What torch raises on a CPU is no MemoryError, and tells the size in the middle of its own affairs.
_ON_CPU = re.compile(r"can't allocate memory: you tried to allocate (\d+) bytes")


@contextlib.contextmanager
def shortage_told(spec: JobSpec, batch_size: int) -> Iterator[None]:
    """Inside, memory that is not to be had becomes a sentence with the keys that need less of it.

    Args:
        spec: what is trained.
        batch_size: of the whole island.

    Raises:
        OutOfMemory: so it did.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        wanted = _wanted(error)
        if wanted is None:
            raise
        section = "router" if spec.role is Role.ROUTER else "training"
        raise OutOfMemory(
            f"no memory left for {spec.name} on {platform.node()} ({wanted}); lower "
            f"{section}.batch_size = {batch_size}, or raise training.accumulation"
        ) from error


def _wanted(error: Exception) -> str | None:
    """What was not to be had; None if it was not memory that lacked."""
    if isinstance(error, torch.OutOfMemoryError):  # tells of the GPU, then of settings of torch's
        return ". ".join(str(error).split(". ")[:3])
    if isinstance(error, MemoryError):
        return str(error) or "Python"
    on_cpu = _ON_CPU.search(str(error))
    return f"{int(on_cpu[1]) / 1e9:.3g} GB at once" if on_cpu else None
