"""Which of several orchestrators leads a run: a row of the database they share.

The row holds who leads, an epoch that only grows, and until when, by the database's own clock. The
leader moves that time on; once it has passed, another orchestrator takes the row under the next
epoch. Every save asks for the current epoch in its own transaction, with the row locked, so that
a leader which froze or was cut off writes nothing after its successor began.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from atoll.clock import Clock
from atoll.errors import ConfigError, Deposed, Unreachable
from orchestrator.storage.database import transaction
from orchestrator.storage.tables import leader

log = logging.getLogger(__name__)

_TERM_S = 5.0
_RENEW_S = 1.0
_NOW = sa.func.clock_timestamp()  # unlike now(), it goes on while a transaction waits for the row


class Leadership:
    """One orchestrator's part in it.

    Attributes:
        clock: this machine's.
    """

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        """Have no part yet."""
        self._engine = engine
        self.clock = clock
        self._holder = f"process {os.getpid()} on {socket.gethostname()}"
        self._epoch = 0
        self._until = -math.inf  # by our own clock, and earlier than by the database's
        self._deposed = ""
        self._former = ""

    @property
    def words(self) -> str:
        """Who leads since when, for people; of a leader."""
        before = f", after {self._former}" if self._former else ""
        return f"{self._holder} leads under epoch {self._epoch}{before}"

    def take(self, run: str) -> str:
        """Lead from now on, if nobody does.

        Args:
            run: name of the run, see :func:`orchestrator.naming.name_of`.

        Returns:
            Who leads instead; "" if this orchestrator does.

        Raises:
            ConfigError: the database holds another run.
            Unreachable: the database cannot be used just now.
        """
        # Imported here, because the runs of one machine do without, and it takes a while.
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415

        asked_at = self.clock.monotonic()
        row = {"id": 1, "run": run, "holder": self._holder, "epoch": 1, "expires_at": _later()}
        taken = insert(leader).values(row)
        taken = taken.on_conflict_do_update(
            index_elements=["id"],
            set_={
                "holder": self._holder,
                "epoch": leader.c.epoch + 1,
                "expires_at": taken.excluded.expires_at,
            },
            where=leader.c.expires_at <= _NOW,
        )
        with transaction(self._engine) as connection:
            # Looked at first without a lock, which the leader's saves would wait for.
            stands = connection.execute(
                sa.select(leader, (leader.c.expires_at > _NOW).label("leads"))
            ).one_or_none()
            if stands is not None and stands.run != run:
                raise ConfigError(
                    "orchestrator.database belongs to another run, or to the one that this is a "
                    "copy of; give every run a database of its own"
                )
            if stands is not None and stands.leads:
                return str(stands.holder)
            epoch = connection.scalar(taken.returning(leader.c.epoch))
        if epoch is None:
            return "another one that was faster"
        self._epoch, self._until, self._deposed = epoch, asked_at + _TERM_S, ""
        self._former = stands.holder if stands is not None else ""
        return ""

    def confirm(self) -> None:
        """Check by this machine's clock alone that nobody else can lead.

        Raises:
            Deposed: somebody else does.
            Unreachable: somebody else might.
        """
        if self._deposed:
            raise Deposed(self._deposed)
        if self.clock.monotonic() >= self._until:
            raise Unreachable("the orchestrator cannot reach its database, and may lead no more")

    def require(self, connection: sa.Connection) -> None:
        """Check that nobody else leads, and keep it so until the end of a transaction.

        Raises:
            Deposed: somebody else does.
        """
        row = connection.execute(sa.select(leader).with_for_update()).one_or_none()
        if row is None or row.epoch != self._epoch:
            who = f"; {row.holder} does" if row else ""
            self._deposed = f"another orchestrator has taken the lead, this one leads no more{who}"
            raise Deposed(self._deposed)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, the lead is renewed in the background; it is given up at the end."""
        left = threading.Event()
        renewing = threading.Thread(target=self._renew_until, args=(left,), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            left.set()
            renewing.join(timeout=_TERM_S)
            self._until = -math.inf
            with suppress(Unreachable):
                self._move(_NOW)

    def _renew_until(self, left: threading.Event) -> None:
        while not left.wait(_RENEW_S):
            asked_at = self.clock.monotonic()
            try:
                self._move(_later())
            except Deposed as error:
                log.warning("leads no more", extra={"fields": {"why": str(error)}})
                return
            except Unreachable as error:
                log.warning("cannot renew the lead", extra={"fields": {"error": str(error)}})
            else:
                self._until = asked_at + _TERM_S

    def _move(self, until: sa.ColumnElement[object]) -> None:
        with transaction(self._engine) as connection:
            self.require(connection)
            connection.execute(leader.update().values(expires_at=until))


def _later() -> sa.ColumnElement[object]:
    return _NOW + sa.func.make_interval(0, 0, 0, 0, 0, 0, _TERM_S)
