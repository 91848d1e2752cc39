"""Standing by and serving in turn, where several orchestrators share a run's database."""

from __future__ import annotations

import logging
from collections.abc import Callable

from atoll.errors import Unreachable
from orchestrator.storage.leadership import Leadership

log = logging.getLogger(__name__)

_LOOK_S = 0.5


def serve_while_leading(
    leadership: Leadership, run: str, serve: Callable[[], None], told_to_leave: Callable[[], bool]
) -> None:
    """Serve whenever nobody else leads, until there is nothing left to do.

    Args:
        leadership: this orchestrator's part in it.
        run: name of the run.
        serve: returns once nothing is left to do; raises Unreachable when the lead is lost.
        told_to_leave: whether to stand by no longer.

    Raises:
        ConfigError: the database holds another run.
    """
    while _stand_by(leadership, run, told_to_leave):
        with leadership.kept():
            try:
                serve()
            except Unreachable as error:
                log.warning("stands by again", extra={"fields": {"why": str(error)}})
            else:
                return


def _stand_by(leadership: Leadership, run: str, told_to_leave: Callable[[], bool]) -> bool:
    """Wait for the lead; whether it came before the word to leave."""
    known = ""
    while not told_to_leave():
        try:
            other = leadership.take(run)
        except Unreachable as error:
            other = str(error)
        if not other:
            return True
        if other != known:
            log.info("stands by", extra={"fields": {"leader": other}})
            known = other
        leadership.clock.sleep(_LOOK_S)
    return False
