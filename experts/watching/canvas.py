"""What curves and pictures of a job are drawn on: TensorBoard, W&B, or nothing."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from atoll import layout
from atoll.errors import BadInput
from atoll.types import Assignment

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

_PROJECT = "atoll"

logger = logging.getLogger(__name__)


class Canvas(Protocol):
    """Where a board draws."""

    def plot(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve, by name."""
        ...

    def hang(self, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Show a picture, (H, W, C)."""
        ...


class _Nothing:
    """See :class:`Canvas`; nobody looks."""

    def plot(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`Canvas`."""

    def hang(self, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """See :class:`Canvas`."""


class _TensorBoard:
    """See :class:`Canvas`; files that `tensorboard --logdir` reads."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def plot(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`Canvas`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def hang(self, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """See :class:`Canvas`."""
        self._writer.add_image(name, picture, step, dataformats="HWC")


class _WandB:
    """See :class:`Canvas`; a run of W&B's."""

    def __init__(self, run: Any, image: Any) -> None:
        self._run, self._image = run, image

    def plot(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`Canvas`."""
        self._run.log(dict(values), step=step)

    def hang(self, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """See :class:`Canvas`."""
        self._run.log({name: self._image(picture)}, step=step)


@contextlib.contextmanager
def open_canvas(
    kind: Literal["tensorboard", "wandb", "none"], assignment: Assignment, step: int
) -> Iterator[Canvas]:
    """The canvas of a job, inside.

    Args:
        kind: of ``training.board``.
        assignment: the job, and the lease under which it is drawn.
        step: it goes on from; what was drawn after that, before an interruption, is hidden.

    Raises:
        BadInput: W&B is not installed, or knows no key.
    """
    with contextlib.ExitStack() as stack:
        if kind == "tensorboard":
            yield stack.enter_context(_tensorboard(assignment, step))
        elif kind == "wandb":
            yield stack.enter_context(_wandb(assignment))
        else:
            yield _Nothing()


@contextlib.contextmanager
def _tensorboard(assignment: Assignment, step: int) -> Iterator[Canvas]:
    # It takes a second, which only the first process of an island has to spend.
    from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415

    with SummaryWriter(_folder("tensorboard", assignment), purge_step=step + 1) as writer:
        yield _TensorBoard(writer)


@contextlib.contextmanager
def _wandb(assignment: Assignment) -> Iterator[Canvas]:
    """One of W&B's runs for each lease, those of a job side by side: none can be rewound.

    Where it is sent, and with which key, is left to what W&B reads by itself: its environment
    variables, or the file that `wandb login` writes.
    """
    try:
        import wandb  # noqa: PLC0415 - it takes seconds
    except ModuleNotFoundError as error:
        raise BadInput(
            "training.board = \"wandb\" needs wandb; run pip install 'atoll[wandb]' on the islands"
        ) from error
    spec, folder = assignment.spec, _folder("wandb", assignment)
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(console="off", disable_git=True, save_code=False, silent=True)
    try:
        run = wandb.init(
            project=_PROJECT,
            group=f"{Path(spec.run_uri).name} {spec.name}",
            name=f"{spec.name} epoch {assignment.lease.epoch}",
            config={"run": spec.run_uri, "job": spec.name, "digest": spec.digest},
            dir=folder,
            settings=settings,
        )
    except wandb.errors.UsageError as error:
        raise BadInput(
            f'training.board = "wandb" cannot be used: {error}; or set WANDB_MODE=offline for the '
            "agents, to send it later"
        ) from error
    except wandb.Error as error:  # whoever looks on must not keep an island from its work
        logger.warning("nothing is drawn", extra={"fields": {"why": str(error)}})
        run = None
    if run is None:
        yield _Nothing()
        return
    with run:
        yield _WandB(run, wandb.Image)


def _folder(kind: str, assignment: Assignment) -> Path:
    """On this machine, for the files of a job."""
    return layout.state_folder(assignment.spec.run_uri) / kind / assignment.spec.name
