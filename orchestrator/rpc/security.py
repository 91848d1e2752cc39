"""What a run's server needs to be called from beyond the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from atoll.clock import Clock
from atoll.config import Config
from atoll.errors import BadInput, ConfigError
from atoll.identity import Kind
from atoll.revocations import Revocations
from orchestrator.rpc.admission import Admission, Revoked

if TYPE_CHECKING:
    from orchestrator.rpc.registrar import Registrar

_ISLAND_JOINS_S = 30 * 86400.0  # it may queue, and come back, for as long as its run takes


@dataclass(frozen=True, slots=True)
class Security:
    """Transport security of one run's server.

    Attributes:
        credentials: whom the server is, and whom it trusts.
        admission: who may call what.
        registrar: makes islands of join tokens.
        revoked: who is shut out at the moment, by URI.
    """

    credentials: grpc.ServerCredentials
    admission: Admission
    registrar: Registrar
    revoked: Revoked = dict

    def token_for(self, island: str) -> str:
        """What the node of a new island is given, as a file holds it. A secret."""
        return self.registrar.token(island, _ISLAND_JOINS_S).text

    def turn_out(self, run: str, take_lease: Callable[[str, str], None]) -> None:
        """Take leases and streams from those who were revoked; their calls are refused already.

        Args:
            run: name of the run.
            take_lease: told the name of each island, and why; more than once.
        """
        self.admission.end_streams()
        for entry in self.revoked().values():
            if (entry.who.kind, entry.who.run) == (Kind.ISLAND, run):
                take_lease(entry.who.name, str(entry))


def certificates_of(config: Config) -> Path:
    """The folder of certificates a run goes by. Raises: BadInput if its calls are in plain text."""
    if not config.orchestrator.tls:
        raise BadInput("the run's calls are in plain text; set orchestrator.tls, see `atoll certs`")
    return Path(config.orchestrator.tls)


def secured(
    config: Config, run: str, clock: Clock, claim: Callable[[str, str], bool]
) -> Security | None:
    """What the configuration asks for; None for plain text.

    Args:
        config: the run.
        run: its name, see :func:`orchestrator.naming.name_of`.
        clock: whose wall clock dates certificates.
        claim: see :meth:`orchestrator.storage.store.Store.claim`.

    Raises:
        ConfigError: a file of the folder is missing, has ended, or does not serve.
    """
    if not config.orchestrator.tls:
        return None
    # Only now, because plain runs do without any cryptography.
    from orchestrator.rpc.registrar import LEAST_S, Registrar  # noqa: PLC0415
    from orchestrator.rpc.server_certificate import ServerCertificate  # noqa: PLC0415

    folder = Path(config.orchestrator.tls)
    try:
        server = ServerCertificate(folder, config.orchestrator.listen, clock)
        revoked = Revocations(folder).known
    except ConfigError as error:
        raise ConfigError(f"orchestrator.tls: {error}") from error
    # An outage that an island outlives must not outlive its certificate, renewed at half its time.
    seconds = max(LEAST_S, 3 * config.island.orphan_s)
    return Security(
        server.credentials,
        Admission(run, clock, revoked),
        Registrar(server.authority, run, claim, clock, seconds),
        revoked,
    )
