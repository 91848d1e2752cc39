"""Where a task is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from atoll.blobs import BlobStore
from atoll.types import Assignment
from experts.task import Place


@dataclass(frozen=True, slots=True)
class Workplace:
    """All that belongs to a training process rather than to its task.

    Attributes:
        assignment: the lease, what is to be trained, and where to go on.
        store: where the run is.
        work_dir: for this lease alone, on this machine.
        place: among the processes of the island.
        device: for the network.
        drain: whether to leave after this step; every process asks after every step, and all get
            the same answer.
    """

    assignment: Assignment
    store: BlobStore
    work_dir: Path
    place: Place
    device: torch.device
    drain: Callable[[], bool]
