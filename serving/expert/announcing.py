"""What a server of experts says of itself: whom it speaks for, where, and how fast."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from atoll import identity
from atoll.clock import Clock
from atoll.config import Config
from membership import announcing
from membership.record import Kind, Record
from membership.registry import Registry
from membership.servers import ServerFacts
from serving.expert.evaluator import Evaluator
from serving.expert.served import ServedExpert

if TYPE_CHECKING:
    from atoll.authority import Pair


@contextmanager
def announced(  # noqa: PLR0917 - all that it says
    config: Config,
    model: str,
    experts: Sequence[ServedExpert],
    evaluator: Evaluator,
    address: str,
    clock: Clock,
) -> Iterator[None]:
    """Inside, gateways find the server in the DHT, if the configuration names peers of one.

    They find it in the registry of the run's orchestrator, too, whenever that serves.

    Args:
        config: of the run, and how its experts are served.
        model: see :func:`membership.servers.model_of`.
        experts: that are served.
        evaluator: of their rows.
        address: at which others call the server.
        clock: whose wall clock ends records.

    Raises:
        BadInput: hivemind is not installed.
        ConfigError: there is no certificate.
    """
    settings, peers = config.expert_server, config.membership.peers
    process = f"process {os.getpid()} on {socket.gethostname()}"

    def saying() -> tuple[Record, Pair | None]:
        speeds = [speed for each in experts if (speed := evaluator.speed(each.number))]
        told = ServerFacts(
            {each.number: each.checkpoint for each in experts},
            evaluator.queue_rows,
            min(speeds, default=0.0),
            process,
        )
        record = Record(Kind.EXPERTS, model, address, address, facts=told.facts)
        return record, _signer(settings.tls)

    with ExitStack() as stack:
        if peers and settings.tls:
            # Servers that gateways know by their addresses need none of it.
            from atoll.credentials import CA, read_certificate  # noqa: PLC0415
            from membership.dht import Dht  # noqa: PLC0415

            authority = read_certificate(Path(settings.tls) / f"{CA}.crt")
            dht = stack.enter_context(Dht(peers, authority, clock))
            stack.enter_context(announcing.announced(dht, saying))
        key, as_whom = "expert_server.tls", identity.Kind.SERVER
        registry = stack.enter_context(Registry(config.run.uri, key, settings.tls, as_whom, clock))
        stack.enter_context(announcing.announced(registry, saying))
        yield


def _signer(tls: str) -> Pair | None:
    """The certificate of a folder, which may have been renewed; None in plain text."""
    if not tls:
        return None
    from atoll.credentials import SERVER, read_pair  # noqa: PLC0415

    return read_pair(Path(tls), SERVER)
