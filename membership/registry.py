"""The registry of a run's orchestrator, which keeps the records of servers of experts.

It is there while the orchestrator is. Whoever was found in it is called without it.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc

from atoll.clock import Clock
from atoll.control import RUN_KEY
from atoll.errors import AtollError, ConfigError, Forbidden, Refused
from atoll.rendezvous import Rendezvous
from atoll.statuses import error_of
from atoll.wire.v1 import membership_pb2 as wire
from atoll.wire.v1 import membership_pb2_grpc as rpc
from membership.found import Found
from membership.place import Nowhere
from membership.record import Kind, Record, lasting, plain

if TYPE_CHECKING:
    from atoll.authority import Pair

_DEADLINE_S = 5.0
_LOOK_S = 5.0  # how often the run's store is asked where it is now
_WHO = "the run's orchestrator"


class Registry:
    """See :class:`membership.place.Place`; found by the orchestrator's note in the run's store."""

    def __init__(self, uri: str, key: str, tls: str, name: str, clock: Clock) -> None:
        """Call nobody yet.

        Args:
            uri: of the run.
            key: of the configuration that names the folder of certificates.
            tls: that folder; "" for plain text, on loopback only.
            name: of the certificate there by which to call.
            clock: whose wall clock ends records.
        """
        self._uri, self._key, self._tls, self._name = uri, key, tls, name
        self._clock = clock
        self._lock = threading.Lock()
        self._called: _Called | None = None
        self._look_at = -math.inf
        self._trouble: AtollError = Nowhere("nobody was asked yet")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._hang_up()

    def announce(self, record: Record, by: Pair | None) -> None:
        """See :class:`membership.place.Place`.

        Raises:
            ConfigError: the orchestrator wants to know who calls, and the folder does not say.
            Refused: it does not believe the record.
        """
        ending = lasting(record, by, self._clock.wall())
        if by is None:
            data = plain(ending)
        else:
            from membership.signing import sealed  # noqa: PLC0415 - plain ones need none

            data = sealed(ending, by)
        request = wire.AnnounceRequest(record=wire.SignedRecord.FromString(data))
        self._ask(lambda stub, **how: stub.Announce(request, **how))

    def find(self, run: str, kind: Kind) -> Found:
        """See :class:`membership.place.Place`. Raises: ConfigError as :meth:`announce`."""
        request = wire.FindRequest(run=run, kind=kind)
        answer = self._ask(lambda stub, **how: stub.Find(request, **how))
        held = [each.SerializeToString() for each in answer.records]
        return Found.among(held, self._authority(), run, kind, self._clock.wall())

    def _authority(self) -> Any:
        if not self._tls:
            return None
        from atoll.credentials import CA, read_certificate  # noqa: PLC0415 - plain ones need none

        return read_certificate(Path(self._tls) / f"{CA}.crt")

    def _ask(self, call: Any) -> Any:
        with self._lock:
            called = self._reached()
            try:
                return call(called.stub, timeout=_DEADLINE_S, metadata=((RUN_KEY, called.run),))
            except grpc.RpcError as error:
                trouble = error_of(error.code(), error.details() or "", _WHO)
                if not isinstance(trouble, Refused) or isinstance(trouble, Forbidden):
                    # It may be elsewhere by now, and certificates may have been renewed.
                    self._hang_up()
                    self._trouble = trouble
                raise trouble from error

    def _reached(self) -> _Called:
        """Whom to ask. Raises: Nowhere, ConfigError."""
        if self._called is not None:
            return self._called
        if self._clock.monotonic() < self._look_at:
            raise self._trouble
        self._look_at = self._clock.monotonic() + _LOOK_S
        try:
            self._called = self._found()
        except AtollError as error:
            self._trouble = error
            raise
        return self._called

    def _found(self) -> _Called:
        note = Rendezvous.read(self._uri)
        if note is None or not note.address:
            raise Nowhere(f"no orchestrator of {self._uri} serves, as far as the run's store tells")
        note.refuse_downgrade(self._uri, self._key, self._tls)
        if not note.secured:
            return _Called(grpc.insecure_channel(note.address), note.run)
        if not self._tls:
            raise ConfigError(
                f"the orchestrator of {self._uri} asks for certificates; set {self._key} to the "
                "folder that holds yours"
            )
        return _Called(grpc.secure_channel(note.address, self._credentials()), note.run)

    def _credentials(self) -> grpc.ChannelCredentials:
        from atoll.authority import identity_in  # noqa: PLC0415 - plain ones need no cryptography
        from atoll.credentials import client_credentials, read_vouched  # noqa: PLC0415

        pair, authority = read_vouched(Path(self._tls), self._name)
        if identity_in(pair.certificate) is None:
            raise ConfigError(
                f"{self._key}: {self._name}.crt in {self._tls} names nobody, and an orchestrator "
                "asks who calls; `atoll certs` with --host or --server makes one that does"
            )
        return client_credentials(pair, authority)

    def _hang_up(self) -> None:
        if self._called is not None:
            self._called.channel.close()
            self._called = None


class _Called:
    """An orchestrator, as far as it was reached."""

    def __init__(self, channel: grpc.Channel, run: str) -> None:
        self.channel, self.run = channel, run
        self.stub: Any = rpc.RegistryStub(channel)
