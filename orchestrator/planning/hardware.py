"""GPUs by name: how fast they are at their best, and how much they hold."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.errors import BadInput


@dataclass(frozen=True, slots=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        name: as ``--gpu`` takes it.
        bf16: peak dense operations per second in bfloat16, accumulated in float32; None where the
            GPU has no units for it.
        fp32: the same in float32 without TF32, as trainers run it.
        memory_bytes: of one, as its maker counts it.
    """

    name: str
    bf16: float | None
    fp32: float
    memory_bytes: float


GPUS = {
    gpu.name: gpu
    for gpu in (
        # The makers' data sheets, without structured sparsity, which doubles the printed figures.
        Gpu("H200", 989e12, 67e12, 141e9),  # NVIDIA H200 data sheet, SXM
        Gpu("H100", 989e12, 67e12, 80e9),  # NVIDIA H100 data sheet, SXM5
        Gpu("A100-80", 312e12, 19.5e12, 80e9),  # NVIDIA A100 data sheet
        Gpu("A100-40", 312e12, 19.5e12, 40e9),  # the same
        Gpu("L40S", 362e12, 91.6e12, 48e9),  # NVIDIA L40S data sheet
        Gpu("L4", 121e12, 30.3e12, 24e9),  # NVIDIA L4 data sheet
        Gpu("RTX4090", 165e12, 82.6e12, 24e9),  # NVIDIA Ada GPU architecture paper, appendix A
        Gpu("T4", None, 8.1e12, 16e9),  # NVIDIA T4 data sheet; Turing has float16 units alone
    )
}


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
    if precision == "fp32":
        return gpu.fp32
    if gpu.bf16 is None:
        raise BadInput(
            f'training.precision = "bf16", but --gpu {gpu.name} has no units for bfloat16; set it '
            'to "fp32", or choose another GPU'
        )
    return gpu.bf16
