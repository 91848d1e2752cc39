"""The experts of a service that are served on other machines, as its configuration says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from atoll.blobs import BlobStore
from atoll.clock import Clock
from atoll.config import Config
from atoll.errors import ConfigError
from atoll.identity import Kind
from atoll.revocations import Revocations
from atoll.serving_section import DHT, FOUND_IN, ORCHESTRATOR
from membership.place import Place
from membership.registry import Registry
from membership.servers import model_of
from partition.stage import load_partition
from serving.remote.experts import RemoteHolder
from serving.remote.finding import Finder, Revoked
from serving.remote.pool import Pool
from serving.remote.rows import WIRE_TYPES

if TYPE_CHECKING:
    from membership.dht import Dht


@contextmanager
def held_elsewhere(
    config: Config, store: BlobStore, bell: threading.Event, clock: Clock
) -> Iterator[RemoteHolder]:
    """Inside, servers of experts are asked: those that are named, and those that are found.

    Args:
        config: ``serving`` says which, and how they are called.
        store: of the run.
        bell: is rung when a server comes or goes, or answers.
        clock: for deadlines.

    Raises:
        ConfigError: a certificate is missing, or is not what it should be; or no peers are named.
        BadInput: hivemind is not installed.
        StageMissing: the run has no partition.
    """
    serving = config.serving
    with ExitStack() as stack:
        credentials = _credentials(config)
        addresses = _addresses(config, store, clock, stack)
        pool = Pool(addresses, credentials, serving.experts_deadline_s, bell, clock)
        pool.start()
        stack.callback(pool.close)
        dtype = WIRE_TYPES[serving.experts_wire]
        yield RemoteHolder(pool, clock, serving.experts_wait_s, serving.deterministic, dtype)


def _addresses(
    config: Config, store: BlobStore, clock: Clock, stack: ExitStack
) -> Callable[[], Collection[str]]:
    """Those that are named, and those that are found."""
    named = frozenset(config.serving.experts) - FOUND_IN
    opening: dict[str, Callable[[Config, Clock], AbstractContextManager[Place]]] = {
        DHT: _dht,
        ORCHESTRATOR: _registry,
    }
    names = [name for name in opening if name in config.serving.experts]
    places = [stack.enter_context(opening[name](config, clock)) for name in names]
    if not places:
        return lambda: named
    model = model_of(load_partition(store, "serve").digest)
    revoked = _revoked(config)
    finders = [stack.enter_context(Finder(place, model, clock, revoked)) for place in places]
    return lambda: named.union(*(finder.addresses() for finder in finders))


def _dht(config: Config, clock: Clock) -> Dht:
    if not config.membership.peers or not config.serving.experts_tls:
        raise ConfigError(
            f"serving.experts = {DHT!r} finds servers whose records the authority has signed; "
            "name peers in membership.peers, and a gateway's folder in serving.experts_tls"
        )
    from atoll.credentials import CA, read_certificate  # noqa: PLC0415 - plain ones need none
    from membership.dht import Dht  # noqa: PLC0415

    authority = read_certificate(Path(config.serving.experts_tls) / f"{CA}.crt")
    return Dht(config.membership.peers, authority, clock)


def _registry(config: Config, clock: Clock) -> Registry:
    tls = config.serving.experts_tls
    return Registry(config.run.uri, "serving.experts_tls", tls, Kind.GATEWAY, clock)


def _revoked(config: Config) -> Revoked:
    """Who was shut out, by the list in the gateway's own folder."""
    if not config.serving.experts_tls:
        return tuple
    known = Revocations(Path(config.serving.experts_tls)).known
    return lambda: known().keys()


def _credentials(config: Config) -> grpc.ChannelCredentials | None:
    tls = config.serving.experts_tls
    if not tls:
        return None
    from atoll.credentials import gateway_credentials  # noqa: PLC0415 - plain ones need none

    try:
        return gateway_credentials(Path(tls))
    except ConfigError as error:
        raise ConfigError(f"serving.experts_tls: {error}") from error
