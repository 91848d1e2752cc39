"""What a server of experts says of itself in the DHT: whom it speaks for, where, and how fast."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.clock import Clock
from atoll.config import Config
from atoll.outward import outward
from serving.expert.evaluator import Evaluator
from serving.expert.served import ServedExpert

if TYPE_CHECKING:
    from atoll.authority import Pair
    from membership.record import Record


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

    Args:
        config: of the run, and how its experts are served.
        model: see :func:`serving.remote.finding.model_of`.
        experts: that are served.
        evaluator: of their rows.
        address: at which this machine calls the server.
        clock: whose wall clock ends records.

    Raises:
        BadInput: hivemind is not installed.
        ConfigError: there is no certificate.
    """
    settings, peers = config.expert_server, config.membership.peers
    if not peers or not settings.tls:
        yield
        return
    # Servers that gateways know by their addresses need none of it.
    from atoll.credentials import CA, SERVER, read_certificate, read_pair  # noqa: PLC0415
    from membership import announcing  # noqa: PLC0415
    from membership.dht import Dht  # noqa: PLC0415
    from membership.record import Kind, Record  # noqa: PLC0415

    folder = Path(settings.tls)
    called_at = outward(settings, address)
    name = f"process {os.getpid()} on {socket.gethostname()}"

    def saying() -> tuple[Record, Pair]:
        facts = {"queue_rows": str(evaluator.queue_rows)}
        for each in experts:
            facts[f"expert {each.number}"] = each.checkpoint
        speeds = [speed for each in experts if (speed := evaluator.speed(each.number))]
        if speeds:
            facts["rows_per_second"] = f"{min(speeds):.1g}"  # roughly: each change is announced
        # The certificate may have been renewed.
        return Record(Kind.EXPERTS, model, name, called_at, facts=facts), read_pair(folder, SERVER)

    authority = read_certificate(folder / f"{CA}.crt")
    with Dht(peers, authority, clock) as dht, announcing.announced(dht, saying):
        yield
