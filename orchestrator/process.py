"""The orchestrator's process: all a run's control plane needs, put together and kept going."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import grpc

from atoll import layout
from atoll.blobs import open_store
from atoll.clock import Clock, SystemClock
from atoll.config import Config
from atoll.config_file import save_config
from atoll.errors import BadInput, Deposed, Unreachable
from atoll.outward import outward
from atoll.passwords import hidden
from atoll.types import Event
from cluster.demands import refuse_unheard
from cluster.providers import provider_of
from orchestrator.announcement import announced, opened_dht
from orchestrator.custodian import Custodian
from orchestrator.endpoint import (
    Endpoint,
    only_one,
    settings_of,
    this_process,
)
from orchestrator.naming import name_of
from orchestrator.rendezvous import noted, refuse_other_place, rendezvous_of
from orchestrator.rpc.interceptors import Timed
from orchestrator.rpc.security import secured
from orchestrator.rpc.server import start_server
from orchestrator.service import FleetService
from orchestrator.settings import (
    budget_of,
    fleet_policy,
    islands_folder,
    recovery_policy,
    retention_of,
    spec_of,
)
from orchestrator.standby import serve_while_leading
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import database_url, is_shared
from orchestrator.supervisor import Supervisor
from orchestrator.vacating import vacate
from orchestrator.web.dashboard import dashboard
from orchestrator.web.metrics import latency_of, registry_of

if TYPE_CHECKING:
    from membership.dht import Dht

log = logging.getLogger(__name__)

_LOOK_S = 0.2
_LINGER_S = 3.0  # the next command of the same run may come at once
_LONELY_S = 60.0  # nobody gave it work; servers of experts may find it yet


def serve(config: Config, trainer: Sequence[str] = ()) -> None:
    """Serve a run until its jobs are over and nobody asks any more.

    SIGINT drains the fleet first. SIGTERM leaves the islands as they are: they train on, and the
    next orchestrator of the run finds them again. Where the database is shared, serves only while
    no other orchestrator leads the run, and stands by until then.

    Args:
        config: the run.
        trainer: command that islands run in place of Atoll's trainers; () for those.

    Raises:
        ConfigError: the address, the database or the islands asked for cannot be had.
        BadInput: the port is in use, or another orchestrator serves the run.
    """
    clock, folder, signals = SystemClock(), layout.state_folder(config.run.uri), _Signals()
    signals.install()
    url = database_url(config)
    with only_one(folder, clock):
        refuse_other_place(config)
        work_of = partial(_Work, config, name_of(config), trainer, signals, clock)
        if not is_shared(url):
            with opened_dht(config, clock) as dht, closing(SqlStore(url)) as store:
                _serve(work_of(dht), store)
            return
    with opened_dht(config, clock) as dht, closing(SqlStore(url)) as store:
        assert store.leadership is not None
        work = work_of(dht)
        serve_while_leading(
            store.leadership, work.run, lambda: _serve(work, store), lambda: signals.any
        )


@dataclass(slots=True)
class _Signals:
    """What this process was told; set at any moment."""

    num_interrupts: int = 0
    leave: bool = False

    def install(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "leave", True))
        signal.signal(signal.SIGINT, self._interrupted)

    @property
    def any(self) -> bool:
        """Whether it was told anything."""
        return self.leave or self.num_interrupts > 0

    def _interrupted(self, *_: object) -> None:
        self.num_interrupts += 1


@dataclass(frozen=True, slots=True)
class _Work:
    """What this process is for: a configuration, its run's name, the islands' trainer."""

    config: Config
    run: str
    trainer: Sequence[str]
    signals: _Signals
    clock: Clock
    dht: Dht | None


def _serve(work: _Work, store: SqlStore) -> None:
    config, clock = work.config, work.clock
    folder = layout.state_folder(config.run.uri)
    security = secured(config, work.run, clock, store.claim)
    service = FleetService(store, fleet_policy(config), clock, budget_of(config))
    if store.leadership:
        service.tell(Event("orchestrator-leads", store.leadership.words))
    former = Endpoint.read(folder)
    for held in (config.orchestrator.listen, config.orchestrator.web):
        vacate(held, former, store.last_event)
    registry = registry_of(service)
    latency = latency_of(registry)
    timed = Timed(lambda method, seconds: latency.labels(method).observe(seconds))
    start = partial(
        start_server,
        service,
        run=work.run,
        security=security,
        interceptors=[timed],
        reflection=config.orchestrator.reflection,
    )
    try:
        server, address = _start(start, config.orchestrator.listen, former)
    except BadInput as error:
        service.leave(f"nobody can call it: {error}")
        raise
    try:
        provider = provider_of(config, work.run, islands_folder(config), clock)
        capabilities = provider.capabilities()
        called_at = outward(config.orchestrator, address) if capabilities.elsewhere else address

        def turn_out() -> None:
            if security is not None:
                security.turn_out(work.run, service.island_gone)

        supervisor = Supervisor(
            service,
            provider,
            spec_of(
                config,
                work.run,
                called_at,
                work.trainer,
                security,
                elsewhere=capabilities.elsewhere,
            ),
            recovery_policy(config),
            clock,
            turn_out=turn_out,
        )
        # Not sooner: one that does not answer has to be mended first. Until then nobody knows where
        # its islands are.
        if supervisor.provider_is_fit:
            refuse_unheard(config, capabilities)
        secure, settings = security is not None, settings_of(config)
        endpoint = this_process(address, work.run, settings, secured=secure)
        endpoint.publish(folder)
        log.info("serving", extra={"fields": {"run": config.run.uri, "address": address}})

        alone = not is_shared(database_url(config))
        blobs, retention = open_store(config.run.uri), retention_of(config)
        custodian = Custodian(service, store, blobs, retention, clock)
        note = rendezvous_of(config, work.run, address, hidden(database_url(config)))
        with (
            noted(blobs, note, service.confirm),
            announced(
                work.dht,
                config,
                work.run,
                address,
                number=store.last_event(),
                confirm=service.confirm,
            ),
            dashboard(config, service, registry, needed=alone),
            custodian.at_work(),
        ):
            save_config(blobs, config)  # now that all of it could be had
            _keep_going(service, supervisor, clock, work.signals, partial(endpoint.keep, folder))
    except Unreachable:
        endpoint.withdraw(folder)  # another one leads
        raise
    finally:
        server.stop(grace=1).wait()


def _keep_going(
    service: FleetService,
    supervisor: Supervisor,
    clock: Clock,
    signals: _Signals,
    look: Callable[[], None],
) -> None:
    idle_since = math.inf
    while not signals.leave and signals.num_interrupts < 2:
        try:
            if signals.num_interrupts:
                service.drain("the orchestrator was interrupted")
            anyone = supervisor.look()
            look()
        except Deposed:
            raise
        except Unreachable as error:  # the database: nothing was changed, try again
            log.warning("the database fails", extra={"fields": {"error": str(error)}})
            anyone = True
        fleet = service.fleet
        idle = fleet.is_settled and not anyone
        idle_since = min(idle_since, clock.monotonic()) if idle else math.inf
        # Who follows the run has to see that it was stopped, or would start it again.
        told = clock.monotonic() - idle_since >= _LINGER_S
        linger_s = _LINGER_S if service.has_had_work else _LONELY_S
        if idle and (service.retire(linger_s) or (signals.num_interrupts and told)):
            return
        if not fleet.jobs and service.retire(_LONELY_S):
            return
        clock.sleep(_LOOK_S)
    service.leave("told to by a signal; the islands work on")


def _start(
    start: Callable[..., tuple[grpc.Server, str]], listen: str, former: Endpoint | None
) -> tuple[grpc.Server, str]:
    """Listen; with a free choice of port, where the islands still look for the last one."""
    if former is not None and listen.endswith(":0"):
        try:
            port = former.address.rpartition(":")[2]
            return start(listen=f"{listen[:-2]}:{port}")
        except BadInput:
            log.warning("former address taken", extra={"fields": {"address": former.address}})
    return start(listen=listen)
