"""What Prometheus is told of the service, whichever way its callers come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.engine.tick import Came, Left, Tick
from serving.remote.usage import Usage
from serving.service.job import Job

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STEP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Of one service, in a registry of its own."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "atoll_requests",
            "By what became of them, or why they were refused.",
            ["outcome"],
            registry=registry,
        )
        self._images = Counter("atoll_images", "Finished.", registry=registry)
        self._queued_s = Histogram(
            "atoll_queue_seconds",
            "From a request to the first step of its first image.",
            registry=registry,
            buckets=_SECONDS,
        )
        self._seconds = Histogram(
            "atoll_request_seconds",
            "From a request to its last image.",
            registry=registry,
            buckets=_SECONDS,
        )
        self._drawn = Gauge("atoll_images_in_progress", "Drawn at the moment.", registry=registry)
        self._waiting = Gauge("atoll_images_waiting", "For a slot.", registry=registry)
        self._guard = threading.Lock()  # of what follows
        self._of_engines: dict[int, tuple[int, int]] = {}  # images drawn and waiting
        self._step_s = Histogram(
            "atoll_tick_seconds",
            "A tick: the gate, and a batch of each expert that is asked.",
            registry=registry,
            buckets=_STEP_SECONDS,
        )
        self._steps = Counter("atoll_steps", "Solver steps of images.", registry=registry)
        self._gated = Counter("atoll_gate_rows", "That the gate looked at.", registry=registry)
        self._batch = Histogram(
            "atoll_batch_rows", "Of one expert in a tick.", registry=registry, buckets=_ROWS
        )
        self._rows = Counter(
            "atoll_expert_rows", "That an expert was asked about.", ["expert"], registry=registry
        )
        self._unused = Counter(
            "atoll_expert_unused_rows",
            "Evaluated elsewhere in one go, and then the router sent their images to others.",
            ["expert"],
            registry=registry,
        )
        self._missed = Counter(
            "atoll_expert_missed_steps",
            "Of images, made without an expert that could not be had.",
            ["expert"],
            registry=registry,
        )
        self._loads = Counter(
            "atoll_expert_loads", "Into memory.", ["expert", "source"], registry=registry
        )
        self._load_s = Histogram(
            "atoll_expert_load_seconds", "Of one expert.", registry=registry, buckets=_SECONDS
        )
        self._evictions = Counter(
            "atoll_expert_evictions", "Out of memory.", ["expert"], registry=registry
        )

    def servers(self, usage: Usage) -> None:
        """Tell, from now on, of experts elsewhere."""
        self._registry.register(_Servers(usage))

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)

    def accepted(self, job: Job) -> None:
        """Follow a job to its end."""
        job.watch(self._told_of(job))

    def refused(self, why: str) -> None:
        """A request was not accepted, in a word."""
        self._requests.labels(why).inc()

    def hear(self, told: Tick | Came | Left) -> None:
        """Take in what engines and their memory tell."""
        match told:
            case Tick():
                with self._guard:  # a newcomer's engine ticks in another thread
                    self._hear_images(told)
                if any(told.rows) or told.num_stepped or any(told.unused):
                    self._hear_step(told)
            case Came():
                self._loads.labels(told.expert, "host" if told.from_host else "disk").inc()
                self._load_s.observe(told.seconds)
            case Left():
                self._evictions.labels(told.expert).inc()

    def _hear_images(self, tick: Tick) -> None:
        self._of_engines[tick.engine] = tick.num_drawn, tick.num_queued
        if not tick.num_drawn + tick.num_queued:
            del self._of_engines[tick.engine]
        self._drawn.set(sum(drawn for drawn, _ in self._of_engines.values()))
        self._waiting.set(sum(queued for _, queued in self._of_engines.values()))

    def _hear_step(self, tick: Tick) -> None:
        self._step_s.observe(tick.seconds)
        self._steps.inc(tick.num_stepped)
        self._gated.inc(tick.num_gated)
        for expert, unused in enumerate(tick.unused):
            if unused:
                self._unused.labels(expert).inc(unused)
        for expert, missed in enumerate(tick.missed):
            if missed:
                self._missed.labels(expert).inc(missed)
        for expert, rows in enumerate(tick.rows):
            if rows:
                self._batch.observe(rows)
                self._rows.labels(expert).inc(rows)

    def _told_of(self, job: Job) -> Callable[[], None]:
        def told() -> None:
            if job.ended_at is None:
                return
            view = job.view()
            self._requests.labels(view.state).inc()
            self._images.inc(sum(image.image is not None for image in view.images))
            self._queued_s.observe(view.queued_s)
            self._seconds.observe(view.seconds)

        return told


@dataclass(frozen=True, slots=True)
class _Servers(Collector):
    """Of experts elsewhere, as they are when Prometheus asks."""

    usage: Usage

    def collect(self) -> Iterator[Metric]:
        there = GaugeMetricFamily(
            "atoll_expert_servers", "That may be asked about it.", labels=["expert"]
        )
        wanted = GaugeMetricFamily(
            "atoll_expert_servers_wanted",
            "Of its own, with which none would be busy for more than 60% of its time.",
            labels=["expert"],
        )
        for use in self.usage.table():
            there.add_metric([str(use.expert)], use.servers)
            wanted.add_metric([str(use.expert)], use.wanted)
        yield from (there, wanted)
