"""GPUs by name: how fast they are at their best, and how much they hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        name: as ``atoll plan --gpu`` takes it.
        bf16: peak dense operations per second in bfloat16, accumulated in float32; None where the
            GPU has no units for it.
        fp32: the same in float32 without TF32, as trainers run it.
        memory_bytes: of one, as its maker counts it.
        drivers: what its driver calls it; other forms of the same chip have other peaks.
    """

    name: str
    bf16: float | None
    fp32: float
    memory_bytes: float
    drivers: tuple[str, ...] = ()

    def peak_flops(self, precision: str) -> float | None:
        """Operations per second at best, in a precision of ``training.precision``."""
        return self.fp32 if precision == "fp32" else self.bf16


_A100_80 = ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe")
_A100_40 = ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB")

GPUS = {
    gpu.name: gpu
    for gpu in (
        # The makers' data sheets, without structured sparsity, which doubles the printed figures.
        Gpu("H200", 989e12, 67e12, 141e9, ("NVIDIA H200",)),  # NVIDIA H200 data sheet, SXM
        Gpu("H100", 989e12, 67e12, 80e9, ("NVIDIA H100 80GB HBM3",)),  # NVIDIA H100 sheet, SXM5
        Gpu("A100-80", 312e12, 19.5e12, 80e9, _A100_80),  # NVIDIA A100 data sheet
        Gpu("A100-40", 312e12, 19.5e12, 40e9, _A100_40),  # the same
        Gpu("L40S", 362e12, 91.6e12, 48e9, ("NVIDIA L40S",)),  # NVIDIA L40S data sheet
        Gpu("L4", 121e12, 30.3e12, 24e9, ("NVIDIA L4",)),  # NVIDIA L4 data sheet
        # NVIDIA Ada GPU architecture paper, appendix A
        Gpu("RTX4090", 165e12, 82.6e12, 24e9, ("NVIDIA GeForce RTX 4090",)),
        # NVIDIA T4 data sheet; Turing has float16 units alone
        Gpu("T4", None, 8.1e12, 16e9, ("Tesla T4",)),
    )
}


def gpu_of_driver(name: str) -> Gpu | None:
    """The GPU that a driver calls so; None for one whose peak is not known here."""
    return next((gpu for gpu in GPUS.values() if name in gpu.drivers), None)
