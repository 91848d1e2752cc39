"""An island that proves who it is: it joins by a token, and renews its certificate by itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Self

from cryptography import x509

from atoll import authority
from atoll.authority import Pair
from atoll.clock import Clock
from atoll.control import ControlClient
from atoll.credentials import client_credentials
from atoll.errors import ControlError, Forbidden, Unreachable
from atoll.gangs import Answer, Call, Seat
from atoll.join_token import JoinToken
from atoll.log_types import LogPiece, LogsWanted
from atoll.traces import Trace, TraceWish
from atoll.types import (
    Assignment,
    CheckpointRef,
    Directive,
    Incident,
    Lease,
    Outcome,
    Progress,
    Wait,
)

log = logging.getLogger(__name__)

_JOIN_DEADLINE_S = 10.0
_RENEW_DEADLINE_S = 1.0  # a heartbeat waits for it
_RETRY_S = 30.0


class Certified:
    """The control plane for an island with a certificate, see :class:`atoll.control.ControlPlane`.

    The key is made here and kept in memory. The first call joins; once half of a certificate's time
    is over, the next call renews it first.
    """

    def __init__(
        self,
        address: str,
        run: str,
        island: str,
        token: JoinToken,
        clock: Clock,
        *,
        node: str = "",
    ) -> None:
        """Connect lazily.

        Args:
            address: ``host:port`` of the orchestrator.
            run: name of the run.
            island: name to join as.
            token: what lets it.
            clock: for renewing; its wall tells only why a token does not serve.
            node: of the island to join as; "" where it has but one.
        """
        self._address = address
        self._run = run
        self._island = island
        self._node = node
        self._token = token
        self._clock = clock
        self._key = authority.new_key()
        self._pair: Pair | None = None
        self._client = self._client_as(token.pair)
        self._joined = False
        self._renew_at = clock.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def pair(self) -> Pair | None:
        """Certificate and key as the island; None before it has joined."""
        return self._pair

    def move(self, address: str) -> None:
        """Go on with an orchestrator elsewhere, as the member one is."""
        self._address = address
        self._client.move(address)

    def acquire(self, island: str, request_id: str, seat: Seat | None = None) -> Assignment | Wait:
        """See :class:`atoll.control.ControlPlane`. Raises also: Forbidden, it may not join."""
        return self._certified().acquire(island, request_id, seat)

    def gather(self, call: Call, deadline_s: float) -> Answer:
        """See :class:`atoll.control.ControlPlane`."""
        return self._certified().gather(call, deadline_s)

    def heartbeat(
        self, lease: Lease, progress: Progress, incidents: Sequence[Incident] = ()
    ) -> Directive:
        """See :class:`atoll.control.ControlPlane`."""
        return self._certified().heartbeat(lease, progress, incidents)

    def commit(self, lease: Lease, checkpoint: CheckpointRef, loss: float = math.nan) -> None:
        """See :class:`atoll.control.ControlPlane`."""
        self._certified().commit(lease, checkpoint, loss)

    def release(self, lease: Lease, outcome: Outcome, request_id: str) -> None:
        """See :class:`atoll.control.ControlPlane`."""
        self._certified().release(lease, outcome, request_id)

    @property
    def logs_wanted(self) -> LogsWanted:
        """See :class:`atoll.control.ControlPlane`."""
        return self._client.logs_wanted

    def send_log(self, piece: LogPiece) -> bool:
        """See :class:`atoll.control.ControlPlane`."""
        return self._certified().send_log(piece)

    @property
    def trace_wanted(self) -> TraceWish | None:
        """See :class:`atoll.control.ControlPlane`."""
        return self._client.trace_wanted

    def send_trace(self, lease: Lease, trace: Trace) -> None:
        """See :class:`atoll.control.ControlPlane`."""
        self._certified().send_trace(lease, trace)

    def _certified(self) -> ControlClient:
        if not self._joined:
            self._join()
        elif self._clock.monotonic() >= self._renew_at:
            self._renew()
        return self._client

    def _join(self) -> None:
        try:
            self._certify(_JOIN_DEADLINE_S)
        except Unreachable as error:
            # With a token that has ended nobody gets as far as an answer.
            ended = self._token.pair.certificate.not_valid_after_utc
            if ended.timestamp() < self._clock.wall():
                raise Forbidden(
                    f"the join token has ended at {ended:%Y-%m-%d %H:%M} UTC; ask an operator for "
                    "another"
                ) from error
            raise
        self._joined = True
        log.info("joined", extra={"fields": {"island": self._island}})

    def _renew(self) -> None:
        """Try; half of the certificate's time is left for trying again."""
        try:
            self._certify(_RENEW_DEADLINE_S)
        except ControlError as error:
            self._renew_at = self._clock.monotonic() + _RETRY_S
            log.warning("certificate not renewed", extra={"fields": {"error": str(error)}})
        else:
            log.info("certificate renewed", extra={"fields": {"island": self._island}})

    def _certify(self, deadline_s: float) -> None:
        request = authority.request_for(self._key)
        given = self._client.certify(self._island, request, deadline_s, self._node)
        certificate = x509.load_pem_x509_certificate(given)
        self._client.close()
        self._pair = Pair(certificate, self._key)
        self._client = self._client_as(self._pair)
        self._renew_at = self._clock.monotonic() + authority.lasts_s(certificate) / 2

    def _client_as(self, pair: Pair) -> ControlClient:
        credentials = client_credentials(pair, self._token.authority)
        return ControlClient(self._address, self._run, credentials)
