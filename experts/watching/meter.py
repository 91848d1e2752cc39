"""How fast steps are made, and what that takes of the first process's device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import torch

from atoll.flops import TRAINING
from atoll.gpus import gpu_of_driver
from experts.task import Task


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured since the reading before.

    Attributes:
        samples_per_s: that all processes learnt from, together.
        tflops_per_s: 10^12 operations a second that a device made of it: the network's own, forward
            and backward, whatever was computed twice to save memory.
        mfu: part of the device's dense peak that this is, in the precision of training; None where
            that peak is not known, as on a CPU.
        memory_bytes: most that tensors took on the GPU; on a CPU what the process takes now.
        wait_share: part of the time in which the process waited for examples.
    """

    samples_per_s: float
    tflops_per_s: float
    mfu: float | None
    memory_bytes: int
    wait_share: float


class Meter:
    """Reads the clock, and the device.

    Args:
        task: what is trained.
        device: of this process.
        num_devices: that share the job.
        cursor: samples consumed before the first step.
    """

    def __init__(self, task: Task, device: torch.device, num_devices: int, cursor: int) -> None:
        self._device = device
        self._flops = TRAINING * task.flops / num_devices  # of a sample, on each device
        self._peak = _peak_flops(device, task.training.precision)
        self._cursor, self._time, self._waited_s = cursor, time.monotonic(), 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, the process waits for examples."""
        began = time.monotonic()
        yield
        self._waited_s += time.monotonic() - began

    def read(self, cursor: int) -> Reading:
        """Measure, and begin anew.

        Args:
            cursor: samples consumed by now.
        """
        now = time.monotonic()
        seconds, samples = now - self._time, cursor - self._cursor
        flops_per_s = samples * self._flops / seconds
        reading = Reading(
            samples_per_s=samples / seconds,
            tflops_per_s=flops_per_s / 1e12,
            mfu=None if self._peak is None else flops_per_s / self._peak,
            memory_bytes=_memory_bytes(self._device),
            wait_share=self._waited_s / seconds,
        )
        self._cursor, self._time, self._waited_s = cursor, now, 0.0
        return reading


def _peak_flops(device: torch.device, precision: str) -> float | None:
    if device.type != "cuda":
        return None
    gpu = gpu_of_driver(torch.cuda.get_device_name(device))
    return None if gpu is None else gpu.peak_flops(precision)


def _memory_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return int(psutil.Process().memory_info().rss)
    most = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return most
