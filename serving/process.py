"""The service's process: a run's newest checkpoints, who draws from them, and who may ask."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atoll import layout
from atoll.blobs import open_store
from atoll.clock import Clock, SystemClock
from atoll.config import Config
from atoll.errors import ConfigError
from atoll.ports import refuse_taken
from atoll.rates import Rates
from atoll.serving_section import ServingSection
from experts.devices import device_of
from serving.engine.tableau import TABLEAUX
from serving.engine.tick import Watch
from serving.keys import Keys, anyone
from serving.leaving import Leaving, Stop
from serving.metrics import Metrics
from serving.remote.usage import Usage
from serving.rest.app import make_app
from serving.rest.server import RestServer
from serving.rpc.callers import Callers
from serving.rpc.server import GrpcFrontEnd
from serving.service.follower import Follower
from serving.service.load import load_edition, newest
from serving.service.service import Service
from serving.signals import Signals

log = logging.getLogger(__name__)

_AT_ONCE = 0.1  # of a minute's requests


class FrontEnd(Protocol):
    """One way to the service."""

    def start(self) -> str:
        """Answer callers from now on.

        Returns:
            Where they call.

        Raises:
            BadInput: the port cannot be had.
        """
        ...

    def leave(self) -> None:
        """Say that no more is taken, while what was accepted is finished, if it can be."""
        ...

    def stop(self, grace_s: float) -> None:
        """Answer nobody any more; those who still read have so long, or less by a further call."""
        ...


@dataclass(frozen=True, slots=True)
class _Served:
    """What front ends are made with."""

    config: Config
    service: Service
    keys: Keys | None
    metrics: Metrics
    usage: Usage | None
    clock: Clock


def serve(config: Config, opened: Callable[[Mapping[str, str]], None], signals: Signals) -> None:
    """Serve a run until SIGTERM or SIGINT; then finish what was accepted.

    Args:
        config: the run, and how it is served.
        opened: told where callers find each front end, by its name.
        signals: what the process is told.

    Raises:
        BadInput: the run cannot be served so, or a port cannot be had.
        AtollError: something accepted was not finished in time.
        Interrupted: likewise, because a second signal came; or one came before it served anybody.
    """
    with ExitStack() as stack:
        with signals.starting():
            served = stack.enter_context(_served(config))
            leaving = Leaving(served.service, signals, config.serving.drain_s, served.clock)
            front_ends = _front_ends(served)
            addresses: dict[str, str] = {}
            stops: list[Stop] = []
            stack.callback(leaving.stop, stops)
            for name, front_end in front_ends.items():
                addresses[name] = front_end.start()
                stops.append(front_end.stop)
        opened(addresses)
        log.info("serving", extra={"fields": {"run": config.run.uri, **addresses}})
        signals.wait(lambda: served.service.is_healthy)
        for front_end in front_ends.values():
            front_end.leave()
        signals.wait()
        leaving.drain()


def _front_ends(served: _Served) -> dict[str, FrontEnd]:
    config, serving = served.config, served.config.serving
    per_minute = serving.requests_per_minute
    rates = (
        Rates(per_minute / 60, max(1.0, per_minute * _AT_ONCE), served.clock)
        if per_minute
        else None
    )
    app = make_app(
        served.service,
        model=config.run.uri.rstrip("/").rpartition("/")[2] or "atoll",
        keys=served.keys,
        rates=rates,
        metrics=served.metrics,
        usage=served.usage,
        clock=served.clock,
    )
    front_ends: dict[str, FrontEnd] = {"rest": RestServer(app, serving.listen, serving.tls)}
    if serving.grpc_listen:
        owner_of = anyone if served.keys is None else served.keys.owner_of
        callers = Callers(owner_of, rates, served.metrics.refused)
        front_ends["grpc"] = GrpcFrontEnd(served.service, serving, served.clock, callers)
    return front_ends


@contextmanager
def _served(config: Config) -> Iterator[_Served]:
    _refuse_unserved(config)
    clock, bell, metrics = SystemClock(), threading.Event(), Metrics()
    keys = _keys(config)
    _refuse_taken_ports(config.serving)
    store, device = open_store(config.run.uri), device_of(config.island)
    cache = layout.state_folder(config.run.uri) / "cache"
    with ExitStack() as stack:
        holder, usage = None, None
        watch: Watch = metrics.hear
        if config.serving.experts:
            # Only now, because most services hold their experts themselves.
            from serving.elsewhere import held_elsewhere  # noqa: PLC0415

            holder = stack.enter_context(held_elsewhere(config, store, bell, clock))
            usage = Usage(config.partition.num_experts, holder.pool.replicas, clock)
            metrics.servers(usage)
            watch = usage.beside(watch)
        load = functools.partial(load_edition, store, config, cache, device, clock, bell, watch)
        edition = load(holder=holder)
        service = stack.enter_context(closing(Service(edition, config.serving, clock, bell)))
        service.watch(metrics.accepted)
        service.start()
        if config.serving.follow_s:
            follower = Follower(
                service,
                functools.partial(newest, store, config),
                functools.partial(load, holder=edition.holder),
                config.serving.follow_s,
            )
            follower.start()
            stack.callback(follower.stop)
        yield _Served(config, service, keys, metrics, usage, clock)


def _keys(config: Config) -> Keys | None:
    if not config.serving.api_keys:
        return None
    try:
        return Keys(Path(config.serving.api_keys))
    except ConfigError as error:
        raise ConfigError(f"serving.api_keys: {error}") from error


def _refuse_taken_ports(serving: ServingSection) -> None:
    """Before checkpoints are loaded, which takes long; a port may still be lost meanwhile."""
    refuse_taken(serving.listen, "serving.listen")
    if serving.grpc_listen:
        refuse_taken(serving.grpc_listen, "serving.grpc_listen", 'to "" for none')


def _refuse_unserved(config: Config) -> None:
    solver = config.sampling.solver
    if solver not in TABLEAUX:
        raise ConfigError(
            f'sampling.solver = "{solver}" takes steps of its own and shares none with others; to '
            f"serve, set it to one of {', '.join(TABLEAUX)}"
        )
