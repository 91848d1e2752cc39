"""What a serving orchestrator says of itself in the DHT, if its configuration names peers of one.

There agents find it that know nothing else, also after it moved to another host.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.clock import Clock
from atoll.config import Config
from atoll.errors import Unreachable
from atoll.outward import outward

if TYPE_CHECKING:
    from atoll.authority import Pair
    from membership.dht import Dht
    from membership.record import Record

_OPEN_S = 20.0


@contextmanager
def opened_dht(config: Config, clock: Clock) -> Iterator[Dht | None]:
    """The DHT of a configuration; None if it names no peers of one, or nobody signs records here.

    It is ready inside, unless that takes too long: leases count from when an orchestrator serves,
    and islands that hear of it late would lose theirs.

    Raises:
        BadInput: hivemind is not installed.
        ConfigError: there is no certificate of the authority.
    """
    if not config.membership.peers or not config.orchestrator.tls:
        yield None
        return
    # Plain runs need no cryptography.
    from atoll.credentials import CA, read_certificate  # noqa: PLC0415
    from membership.dht import Dht  # noqa: PLC0415

    authority = read_certificate(Path(config.orchestrator.tls) / f"{CA}.crt")
    with Dht(config.membership.peers, authority, clock) as dht:
        opening = threading.Thread(target=_open, args=(dht,), name="dht", daemon=True)
        opening.start()
        opening.join(_OPEN_S)
        yield dht


def _open(dht: Dht) -> None:
    with suppress(Unreachable):  # told, and tried again, when there is something to announce
        dht.open()


@contextmanager
def announced(
    dht: Dht | None,
    config: Config,
    run: str,
    address: str,
    *,
    number: int,
    confirm: Callable[[], None],
) -> Iterator[None]:
    """Inside, agents find the orchestrator in the DHT; afterwards they are told that it has left.

    Args:
        dht: where, if anywhere.
        config: of the run.
        run: its name.
        address: at which this machine calls it.
        number: larger than that of any orchestrator which led the run before.
        confirm: raises an error where another orchestrator may lead by now.
    """
    if dht is None:
        yield
        return
    from atoll.credentials import SERVER, read_pair  # noqa: PLC0415
    from membership import announcing  # noqa: PLC0415
    from membership.record import Kind, Record  # noqa: PLC0415

    name = f"process {os.getpid()} on {socket.gethostname()}"
    record = Record(
        Kind.ORCHESTRATOR,
        run,
        name,
        outward(config.orchestrator, address),
        number,
    )

    def saying() -> tuple[Record, Pair]:
        confirm()
        # The certificate may have been renewed.
        return record, read_pair(Path(config.orchestrator.tls), SERVER)

    with announcing.announced(dht, saying):
        yield
