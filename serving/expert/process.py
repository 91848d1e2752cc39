"""The process of an expert server: some experts of a run, until it is told to leave."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from atoll import layout
from atoll.blobs import open_store
from atoll.clock import Clock, SystemClock
from atoll.config import Config
from atoll.errors import AtollError, BadInput, ConfigError
from atoll.outward import outward
from atoll.ports import refuse_taken
from atoll.revocations import Revocations
from experts.devices import device_of
from experts.load import load_expert
from membership.servers import model_of
from router.load import trained_run
from router.sizes import sizes_of
from serving.expert.admission import Admission
from serving.expert.announcing import announced
from serving.expert.conditions import Conditions
from serving.expert.evaluator import Evaluator
from serving.expert.recalling import recalling
from serving.expert.served import ServedExpert
from serving.expert.server import ExpertServer
from serving.expert.servicer import ExpertsServicer
from serving.signals import Signals

log = logging.getLogger(__name__)

_LOOK_S = 0.05
_GRACE_S = 1.0  # to read the last answers


def serve_experts(
    config: Config, numbers: Sequence[int], opened: Callable[[str], None], signals: Signals
) -> None:
    """Serve experts of a run until SIGTERM or SIGINT; then finish what was accepted.

    Args:
        config: the run, and how its experts are served.
        numbers: of the experts.
        opened: told where it is called.
        signals: what the process is told.

    Raises:
        BadInput: there is no such expert, or the port cannot be had.
        StageMissing: experts are not trained yet.
        CheckpointDamaged: a file of a checkpoint is gone, or not what was written.
        AtollError: something accepted was not finished in time.
    """
    settings, clock = config.expert_server, SystemClock()
    with ExitStack() as stack:
        with signals.starting():
            refuse_taken(settings.listen, "expert_server.listen")
            served, model = _loaded(config, numbers)
            shared, is_whole = stack.enter_context(_shared(config, served))
            experts = recalling(shared)
            evaluator = Evaluator(
                settings.batch_rows, settings.queue_rows, device_of(config.island), clock
            )
            leaving = False
            admission = _admission(settings.tls, clock)
            servicer = ExpertsServicer(
                config.run.uri,
                experts,
                evaluator,
                clock,
                lambda: leaving,
                Conditions(settings.conditions_mb * 2**20),
                *([admission.refuse_stranger] if admission else []),
            )
            server = ExpertServer(servicer, settings, admission)
            evaluator.start()
            stack.callback(evaluator.stop)
            address = server.start()
            stack.callback(lambda: server.stop(0.0 if signals.is_urgent else _GRACE_S))
        called_at = outward(settings, address)
        with announced(config, model, experts, evaluator, called_at, clock):
            opened(called_at)
            told = {"experts": list(numbers), "address": called_at}
            log.info("serving experts", extra={"fields": told})
            signals.wait(lambda: evaluator.is_alive and is_whole())
        leaving = True
        server.leave()
        if not is_whole():
            raise AtollError("a rank has ended, without which the others can do nothing")
        _drain(evaluator, signals, settings.drain_s)


@contextmanager
def _shared(
    config: Config, served: Sequence[ServedExpert]
) -> Iterator[tuple[Sequence[ServedExpert], Callable[[], bool]]]:
    """Inside, experts are evaluated by all ranks; and whether all of these are there."""
    num = config.expert_server.ranks
    if num == 1:
        yield served, lambda: True
        return
    from serving.expert.ranks import ranks  # noqa: PLC0415 - most servers are one process

    load = functools.partial(load_served, config, [each.number for each in served])
    device, displaced = device_of(config.island), config.expert_server.displaced
    with ranks(served, load, num, device, displaced=displaced) as (others, experts):
        yield experts, lambda: others.are_alive


def load_served(config: Config, numbers: Sequence[int]) -> list[ServedExpert]:
    """Experts of a run, as they are served; arguments and errors as of :func:`serve_experts`."""
    return _loaded(config, numbers)[0]


def _admission(tls: str, clock: Clock) -> Admission | None:
    if not tls:
        return None
    try:
        return Admission(clock, Revocations(Path(tls)).known)
    except ConfigError as error:
        raise ConfigError(f"expert_server.tls: {error}") from error


def _drain(evaluator: Evaluator, signals: Signals, drain_s: float) -> None:
    until = time.monotonic() + drain_s
    while evaluator.num_waiting and evaluator.is_alive:
        if signals.is_urgent or time.monotonic() > until:
            raise AtollError(f"rows that are not evaluated: {evaluator.num_waiting}")
        time.sleep(_LOOK_S)


def _loaded(config: Config, numbers: Sequence[int]) -> tuple[list[ServedExpert], str]:
    store, device = open_store(config.run.uri), device_of(config.island)
    # Who serves experts needs no router.
    fixed = config.sampling.model_copy(update={"gate": "uniform"})
    trained = trained_run(store, config.model_copy(update={"sampling": fixed}), "serve-expert")
    cache = layout.state_folder(config.run.uri) / "cache"
    shapes = tuple(sizes_of(trained.partition).values())
    served = []
    for number in numbers:
        if not 0 <= number < trained.partition.num_experts:
            raise BadInput(
                f"--expert {number}: this run has experts 0 to {trained.partition.num_experts - 1}"
            )
        ref = trained.experts[number]
        loaded = load_expert(store, ref, cache, device)
        served.append(ServedExpert(number, ref.digest, loaded.model, loaded.conditioning, shapes))
    return served, model_of(trained.partition.digest)
