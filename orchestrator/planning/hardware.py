"""GPUs as a plan is asked for them."""

from __future__ import annotations

from atoll.errors import BadInput
from atoll.gpus import GPUS, Gpu


def gpu_named(name: str) -> Gpu:
    """The GPU of this name, in whatever case.

    Raises:
        BadInput: there is none in the table.
    """
    for known, gpu in GPUS.items():
        if known.lower() == name.lower():
            return gpu
    raise BadInput(f"--gpu {name} is not known; there are {', '.join(GPUS)}")


def peak_flops(gpu: Gpu, precision: str) -> float:
    """Operations per second at best, in a precision of ``training.precision``.

    Raises:
        BadInput: the GPU cannot compute in it.
    """
    peak = gpu.peak_flops(precision)
    if peak is None:
        raise BadInput(
            f'training.precision = "{precision}", but --gpu {gpu.name} has no units for bfloat16; '
            'set it to "fp32", or choose another GPU'
        )
    return peak
