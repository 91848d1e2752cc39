"""Work for the images of many requests at once, and who is to blame if it raises."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from serving.engine.events import Failed
from serving.engine.queue import Entry, Queue
from serving.engine.shortage import BatchRows, is_shortage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Attempts:
    """What is tried for images.

    Attributes:
        queue: whose images they are.
        rows: of a batch; fewer where memory runs out.
        forget: undoes for some slots what was begun.
        spare: makes room, where what these slots need is to stay.
    """

    queue: Queue
    rows: BatchRows
    forget: Callable[[Tensor], None]
    spare: Callable[[Tensor], None]

    def attempt(self, work: Callable[[Tensor], None], slots: Tensor) -> bool:
        """Do something for images; if it raises, for each request alone, and fail the guilty.

        Returns:
            False where batches are smaller from now on: what is left waits for the next tick.
        """
        error = self._raised(work, slots)
        if error is None:
            return True
        if is_shortage(error) and self.rows.halve():
            return False
        by_request: dict[Entry, list[int]] = {}
        for slot in slots.tolist():
            if slot in self.queue.active:
                by_request.setdefault(self.queue.active[slot].entry, []).append(slot)
        for entry, its in by_request.items():
            if len(by_request) == 1:
                self.queue.end(entry, failed(error))
            elif not self.attempt(work, torch.tensor(its, device=slots.device)):
                return False
        return True

    def _raised(self, work: Callable[[Tensor], None], slots: Tensor) -> Exception | None:
        try:
            work(slots)
        except Exception as error:  # whatever a network or a driver raises
            _log.warning("a batch raised", exc_info=not is_shortage(error))
            if is_shortage(error):
                self.spare(slots)
            self.forget(slots)
            return error.with_traceback(None)  # which would keep the batch in memory
        return None


def failed(error: Exception) -> Failed:
    """The end of a request at which something was raised."""
    if is_shortage(error):
        return Failed("memory ran out although it was drawn alone; ask again once there is more")
    first_line = str(error).partition("\n")[0]
    return Failed(f"drawing it raised {type(error).__name__}: {first_line}")
