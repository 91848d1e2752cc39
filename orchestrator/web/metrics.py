"""What Prometheus is told of a run."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from atoll.types import FleetView, JobState, JobView
from orchestrator.service import FleetService

# What takes a job from its island, by the name it goes under in the metric.
_SETBACKS = {
    "attempt-failed": "failure",
    "island-lost": "silence",
    "island-gone": "death",
    "island-preempted": "preemption",
    "trainer-stuck": "standstill",
}
_LATENCIES_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class FleetCollector(Collector):
    """Asks the fleet when it is asked itself, so that nothing is counted twice."""

    def __init__(self, service: FleetService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """One family after the other; counters begin at 0 with each orchestrator."""
        view = self._service.seen()
        yield from _of_jobs(view)
        yield from _of_islands(view)
        yield from _of_events(self._service.told)


def registry_of(service: FleetService) -> CollectorRegistry:
    """All that is told of one fleet."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(service))
    return registry


def latency_of(registry: CollectorRegistry) -> Histogram:
    """Where the time of each call is noted."""
    return Histogram(
        "atoll_rpc_seconds",
        "Time to answer a call, by its method.",
        ["method"],
        buckets=_LATENCIES_S,
        registry=registry,
    )


def _of_jobs(view: FleetView) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("atoll_jobs", "Jobs, by where they stand.", labels=["state"])
    states = Tally(job.state for job in view.jobs)
    for state in JobState:
        jobs.add_metric([state.value], states[state])
    yield jobs
    readings: dict[str, tuple[str, Callable[[JobView], float]]] = {
        "atoll_job_step": ("Steps its trainer has made.", lambda job: job.progress.step),
        "atoll_job_committed_step": (
            "Steps that are safe.",
            lambda job: job.checkpoint.step if job.checkpoint else 0,
        ),
        "atoll_job_samples_per_second": (
            "Pace of its trainer.",
            lambda job: job.progress.samples_per_s,
        ),
        "atoll_job_loss": ("Mean loss since the last report.", lambda job: job.progress.loss),
        "atoll_job_epoch": ("Leases it took.", lambda job: job.epoch),
    }
    for name, (words, read) in readings.items():
        family = GaugeMetricFamily(name, words, labels=["job"])
        for job in view.jobs:
            family.add_metric([job.spec.name], read(job))
        yield family


def _of_islands(view: FleetView) -> Iterator[Metric]:
    islands = GaugeMetricFamily("atoll_islands", "Islands, by how they are.", labels=["state"])
    states = Tally(island.state for island in view.islands)
    for state in ("idle", "working", "lost"):
        islands.add_metric([state], states[state])
    yield islands
    age = GaugeMetricFamily(
        "atoll_heartbeat_age_seconds", "Time since an island was heard.", labels=["island"]
    )
    for island in view.islands:
        if island.state in {"idle", "working"}:
            age.add_metric([island.name], island.silent_s)
    yield age


def _of_events(told: Tally[str]) -> Iterator[Metric]:
    commits = CounterMetricFamily("atoll_commits", "Checkpoints published.")
    commits.add_metric([], told["checkpoint-committed"])
    leases = CounterMetricFamily("atoll_leases_granted", "Leases granted.")
    leases.add_metric([], told["lease-granted"])
    setbacks = CounterMetricFamily(
        "atoll_setbacks", "Leases that ended before their time, by cause.", labels=["cause"]
    )
    for kind, cause in _SETBACKS.items():
        setbacks.add_metric([cause], told[kind])
    yield from (commits, leases, setbacks)
