"""What a run's server needs to be called from beyond the machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from atoll import authority, layout
from atoll.address import split_address
from atoll.clock import Clock
from atoll.config import Config
from atoll.credentials import CA, SERVER, read_pair, server_credentials
from atoll.errors import ConfigError
from orchestrator.admission import Admission
from orchestrator.registrar import LEAST_S, Registrar

_NAMES = "joined"
_ISLAND_JOINS_S = 3600.0  # a node that a provider starts may wait so long for its first call


@dataclass(frozen=True, slots=True)
class Security:
    """Transport security of one run's server.

    Attributes:
        credentials: whom the server is, and whom it trusts.
        admission: who may call what.
        registrar: makes islands of join tokens.
    """

    credentials: grpc.ServerCredentials
    admission: Admission
    registrar: Registrar

    def token_for(self, island: str) -> str:
        """What the node of a new island is given, as a file holds it. A secret."""
        return self.registrar.token(island, _ISLAND_JOINS_S).text


def secured(config: Config, run: str, clock: Clock) -> Security | None:
    """What the configuration asks for; None for plain text.

    Args:
        config: the run.
        run: its name, see :func:`orchestrator.endpoint.identity`.
        clock: whose wall clock dates certificates.

    Raises:
        ConfigError: a file of the folder is missing, has ended, or does not serve.
    """
    if not config.orchestrator.tls:
        return None
    folder = Path(config.orchestrator.tls)
    try:
        ca, server = read_pair(folder, CA), read_pair(folder, SERVER)
        _refuse_useless(server, config.orchestrator.listen, folder, clock)
    except ConfigError as error:
        raise ConfigError(f"orchestrator.tls: {error}") from error
    # An outage that an island outlives must not outlive its certificate, renewed at half its time.
    seconds = max(LEAST_S, 3 * config.island.orphan_s)
    names = layout.state_folder(config.run.uri) / _NAMES
    return Security(
        server_credentials(server, ca.certificate),
        Admission(run, clock),
        Registrar(ca, run, names, clock, seconds),
    )


def _refuse_useless(server: authority.Pair, listen: str, folder: Path, clock: Clock) -> None:
    """Refuse a certificate with which no call could succeed."""
    mend = f"run `atoll certs {folder}"
    if authority.seconds_left(server.certificate, clock.wall()) < 0:
        raise ConfigError(f"server.crt in {folder} has ended; {mend}`")
    host = split_address(listen)[0].strip("[]")
    hosts = authority.hosts_in(server.certificate)
    if host not in {*hosts, "0.0.0.0", "::"}:  # noqa: S104 - there it is called by other names
        raise ConfigError(
            f"server.crt in {folder} is for {', '.join(hosts)}, and orchestrator.listen names "
            f"{host}; {mend} --host {host}`"
        )
