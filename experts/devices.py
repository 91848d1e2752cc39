"""Which device networks run on."""

from __future__ import annotations

import contextlib

import torch

from atoll.errors import BadInput
from atoll.island_section import IslandSection


def device_of(island: IslandSection, number: int | None = None) -> torch.device:
    """The device a configuration asks for, or the best there is.

    Args:
        island: ``device`` of it counts.
        number: of a process on this machine, so that processes take the GPUs in turn; None takes
            torch's default one.

    Raises:
        BadInput: it asks for CUDA, and there is none.
    """
    cuda = torch.cuda.is_available()
    if island.device == "cuda" and not cuda:
        raise BadInput('island.device = "cuda", but this machine has none; set it to "auto"')
    if island.device == "cpu" or not cuda:
        return torch.device("cpu")
    if number is None:
        return torch.device("cuda")
    return torch.device("cuda", number % torch.cuda.device_count())


def arithmetic(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Inside, networks compute like this.

    Args:
        precision: fp32, or bf16 for what autocast takes to be safe in it.
        device: where they compute.
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
