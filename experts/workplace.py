"""Where a task is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from atoll.blobs import BlobStore
from atoll.parallel_section import ParallelSection
from atoll.traces import TraceWish
from atoll.types import Assignment
from experts.decoding import Decoder, decode_pixels
from experts.parallel.mesh import Mesh
from experts.watching.pulse import Pulse


@dataclass(frozen=True, slots=True)
class Workplace:
    """All that belongs to a training process rather than to its task.

    Attributes:
        assignment: the lease, what is to be trained, and where to go on.
        store: where the run is.
        work_dir: for this lease alone, on this machine.
        mesh: the processes of the island, and which of them this is.
        parallel: how they share the job.
        device: for the network.
        drain: whether to leave after this step; every process asks after every step, and all get
            the same answer.
        wish: the trace that is asked for, told once, and to the first process alone.
        pulse: which tells how far it is.
        decode: makes images of what the network paints, for the board.
    """

    assignment: Assignment
    store: BlobStore
    work_dir: Path
    mesh: Mesh
    parallel: ParallelSection
    device: torch.device
    drain: Callable[[], bool]
    wish: Callable[[], TraceWish | None] = lambda: None
    pulse: Pulse = field(default_factory=Pulse)
    decode: Decoder = decode_pixels
