"""What a person can watch during training: curves and sample grids, in TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from atoll import layout
from atoll.types import JobSpec
from experts.history import Point
from partition.images import encode_png
from partition.pixels import to_uint8
from partition.sheet import enlarged, tiled

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class Board:
    """The TensorBoard of one job.

    Args:
        writer: of its files.
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def plot(self, point: Point) -> None:
        """Add a point to each curve."""
        for name in ("loss", "grad_norm", "samples_per_s"):
            self._writer.add_scalar(name, getattr(point, name), point.step)

    def show(self, images: Tensor, step: int) -> bytes:
        """Show what a network has drawn, see :meth:`experts.task.Task.grid`.

        Returns:
            The grid as a PNG.
        """
        grid = tiled(enlarged(to_uint8(images.cpu().numpy())))
        self._writer.add_image("samples", grid, step, dataformats="HWC")
        return encode_png(grid)


@contextlib.contextmanager
def open_board(spec: JobSpec, step: int) -> Iterator[Board]:
    """The board of a job; what it showed after ``step``, before an interruption, is hidden."""
    # It takes a second, which only the first process of an island has to spend.
    from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415

    folder = board_folder(spec.run_uri, spec.name)
    with SummaryWriter(folder, purge_step=step + 1) as writer:
        yield Board(writer)


def board_folder(run_uri: str, job: str) -> Path:
    """Where a job's TensorBoard files are."""
    return layout.state_folder(run_uri) / "tensorboard" / job
