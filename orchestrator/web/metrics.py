"""What Prometheus is told of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from atoll.types import JobState, Vitals
from atoll.views import FleetView, JobView
from orchestrator.service import FleetService
from orchestrator.tally import SETBACKS, Tally

_LATENCIES_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class FleetCollector(Collector):
    """Asks the fleet when it is asked itself, so that nothing is counted twice."""

    def __init__(self, service: FleetService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """One family after the other.

        Counters begin at 0 with each orchestrator, but for node hours and their cost.
        """
        view, tally = self._service.seen(), self._service.tally
        yield from _of_jobs(view)
        yield from _of_islands(view)
        yield from _of_events(tally)
        yield from _of_checkpoints(view, tally, self._service.wall())
        yield from _of_nodes(view)
        yield from _of_servers(view)


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
    states = Counter(job.state for job in view.jobs)
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
        "atoll_lease_left_seconds": (
            "Until its lease ends without a heartbeat; 0 without one.",
            lambda job: job.lease_left_s,
        ),
    }
    for name, (words, read) in readings.items():
        family = GaugeMetricFamily(name, words, labels=["job"])
        for job in view.jobs:
            family.add_metric([job.spec.name], read(job))
        yield family
    yield from _of_trainers(view)


def _of_trainers(view: FleetView) -> Iterator[Metric]:
    """What a trainer knows; its line is missing where it does not."""
    readings: dict[str, tuple[str, Callable[[Vitals], float | None]]] = {
        "atoll_job_flops_per_second": (
            "Operations of its network, on each device.",
            lambda told: None if told.tflops_per_s is None else told.tflops_per_s * 1e12,
        ),
        "atoll_job_mfu_ratio": ("Part of the device's peak that this is.", lambda told: told.mfu),
        "atoll_job_memory_bytes": (
            "Most that tensors took on its GPU; on a CPU what its process takes.",
            lambda told: told.memory_bytes,
        ),
        "atoll_job_wait_ratio": (
            "Part of the time in which it waits for data.",
            lambda told: told.wait_share,
        ),
        "atoll_job_gradient_norm": ("Before clipping.", lambda told: told.grad_norm),
        "atoll_job_held_out_loss": (
            "On samples that training never sees, when it was last measured.",
            lambda told: told.held_out,
        ),
    }
    for name, (words, read) in readings.items():
        family = GaugeMetricFamily(name, words, labels=["job"])
        for job in view.jobs:
            value = read(job.progress.vitals)
            if value is not None:
                family.add_metric([job.spec.name], value)
        yield family


def _of_islands(view: FleetView) -> Iterator[Metric]:
    islands = GaugeMetricFamily("atoll_islands", "Islands, by how they are.", labels=["state"])
    states = Counter(island.state for island in view.islands)
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


def _of_events(tally: Tally) -> Iterator[Metric]:
    commits = CounterMetricFamily("atoll_commits", "Checkpoints published.")
    commits.add_metric([], tally.kinds["checkpoint-committed"])
    leases = CounterMetricFamily("atoll_leases_granted", "Leases granted.")
    leases.add_metric([], tally.kinds["lease-granted"])
    setbacks = CounterMetricFamily(
        "atoll_setbacks", "Leases that ended before their time, by cause.", labels=["cause"]
    )
    recoveries = CounterMetricFamily(
        "atoll_recoveries", "Leases granted to jobs that were set back, by cause.", labels=["cause"]
    )
    for cause in dict.fromkeys(SETBACKS.values()):
        setbacks.add_metric([cause], tally.setbacks[cause])
        recoveries.add_metric([cause], tally.recoveries[cause])
    events = CounterMetricFamily("atoll_events", "All that happened, by kind.", labels=["kind"])
    for kind, num in sorted(tally.kinds.items()):
        events.add_metric([kind], num)
    yield from (commits, leases, setbacks, recoveries, events)


def _of_checkpoints(view: FleetView, tally: Tally, now: float) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "atoll_checkpoint_age_seconds",
        "Work at risk: time since a job's checkpoint or lease, or since this orchestrator serves.",
        labels=["job"],
    )
    for job in view.jobs:
        if job.state is JobState.LEASED:
            age.add_metric([job.spec.name], now - tally.safe_at.get(job.spec.name, tally.since))
    yield age


def _of_nodes(view: FleetView) -> Iterator[Metric]:
    taken = CounterMetricFamily("atoll_node_seconds", "Time that the provider's nodes have run.")
    taken.add_metric([], view.node_hours * 3600)
    cost = CounterMetricFamily("atoll_cost", "What they cost, in the unit of their price.")
    cost.add_metric([], view.cost)
    yield from (taken, cost)
    budget = view.budget
    limits = {
        "atoll_budget_cost": ("What they may cost; missing without a limit.", budget.cost),
        "atoll_budget_node_seconds": (
            "Time that they may run; missing without a limit.",
            None if budget.node_hours is None else budget.node_hours * 3600,
        ),
        "atoll_deadline_timestamp_seconds": (
            "When all of them have to be gone; missing without a deadline.",
            budget.deadline,
        ),
    }
    for name, (words, limit) in limits.items():
        if limit is not None:
            yield GaugeMetricFamily(name, words, value=limit)


def _of_servers(view: FleetView) -> Iterator[Metric]:
    """A gateway's own ``atoll_expert_servers`` are those that it may ask."""
    known = GaugeMetricFamily(
        "atoll_registered_expert_servers",
        "Servers that have told this orchestrator of themselves, by expert.",
        labels=["expert"],
    )
    for expert, num in sorted(Counter(k for each in view.servers for k in each.experts).items()):
        known.add_metric([str(expert)], num)
    yield known
