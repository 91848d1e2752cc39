"""How wishes for traces reach a trainer, and what becomes of them its orchestrator."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from atoll.clock import Clock
from atoll.control import ControlPlane
from atoll.errors import Refused, Unreachable
from atoll.traces import Trace
from atoll.types import Lease
from cluster.trainer_process import TrainerProcess

log = logging.getLogger(__name__)

_RETRY_S = 2.0


class Tracing:
    """The messenger of one lease."""

    def __init__(
        self,
        control: ControlPlane,
        lease: Lease,
        trainer: Callable[[], TrainerProcess],
        clock: Clock,
    ) -> None:
        """Carry wishes.

        Args:
            control: where they come from.
            lease: whose trainer is meant.
            trainer: the one at work.
            clock: of this node.
        """
        self._control = control
        self._lease = lease
        self._trainer = trainer
        self._clock = clock
        self._ordered: tuple[str, TrainerProcess] | None = None  # which wish, of which trainer
        self._untold: Trace | None = None
        self._not_before = -math.inf

    def order(self) -> None:
        """Pass a wish on, once to each trainer, now that a heartbeat was answered.

        One that breaks takes the wish with it; the next under this lease is asked again.
        """
        wish, trainer = self._control.trace_wanted, self._trainer()
        if wish is not None and trainer.poll() is None and self._ordered != (wish.id, trainer):
            self._ordered = wish.id, trainer
            trainer.trace(wish)

    def made(self, trace: Trace) -> None:
        """The trainer has said what became of a wish."""
        self._untold = trace

    def tell(self) -> None:
        """Say it to the orchestrator, if it is not said yet. Raises: LeaseLost."""
        if self._untold is None or self._clock.monotonic() < self._not_before:
            return
        try:
            self._control.send_trace(self._lease, self._untold)
        except Unreachable:
            self._not_before = self._clock.monotonic() + _RETRY_S
        except Refused as error:  # nobody waits for it any more; training goes on
            log.warning("a trace is not wanted", extra={"fields": {"error": str(error)}})
            self._untold = None
        else:
            self._untold = None

    def flush(self) -> None:
        """Say it now, before the lease is given back. Raises: LeaseLost."""
        self._not_before = -math.inf
        self.tell()
