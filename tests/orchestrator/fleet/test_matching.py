"""The stated rule against the best that any pairing of jobs and islands can do."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.types import Assignment, JobSpec, Role, Submission
from cluster.provider import Node
from orchestrator.fleet import leases, matching, operations
from orchestrator.fleet.state import Fleet, Policy

POLICY = Policy(term_s=10.0, max_failures=2, backoff_s=1.0)
PAIRS = st.lists(
    st.tuples(st.integers(1, 50), st.sampled_from([0.5, 1.0, 2.0, 3.0])), min_size=1, max_size=5
)


def fleet_of(speeds: dict[str, float], num_jobs: int) -> Fleet:
    """Islands that live, and jobs that wait, the heaviest first."""
    policy = replace(POLICY, speeds=speeds)
    specs = (JobSpec(f"job-{n}", Role.EXPERT, n, "runs/test", 10, "d") for n in range(num_jobs))
    fleet = Fleet(policy)
    fleet = fleet.after(operations.submit(fleet, [Submission(spec) for spec in specs], 0.0))
    nodes = [Node(f"island-of-{name}", alive=True, provider=name) for name in speeds]
    return fleet.after(matching.seen(fleet, nodes))


def granted(fleet: Fleet, islands: list[str]) -> dict[str, str]:
    """The job each island gets, if they ask in this order."""
    found = {}
    for island in islands:
        answer, change = leases.acquire(fleet, island, f"request of {island}", 0.0)
        fleet = fleet.after(change)
        if isinstance(answer, Assignment):
            found[island] = answer.lease.job
    return found


@given(pairs=PAIRS, order=st.randoms(use_true_random=False))
def test_islands_that_ask_in_any_order_are_done_as_early_as_any_pairing_lets_them(pairs, order):
    work = sorted((weight for weight, _ in pairs), reverse=True)
    speeds = {f"{number}": speed for number, (_, speed) in enumerate(pairs)}
    islands = [f"island-of-{name}" for name in speeds]
    order.shuffle(islands)
    found = granted(fleet_of(speeds, len(pairs)), islands)
    speed_of = {f"island-of-{name}": speed for name, speed in speeds.items()}
    done_at = max(work[int(job.removeprefix("job-"))] / speed_of[it] for it, job in found.items())
    best = min(
        max(weight / speed for weight, speed in zip(work, each, strict=True))
        for each in itertools.permutations(speeds.values())
    )
    assert done_at == pytest.approx(best)


def test_slow_island_leaves_the_heavier_jobs_to_the_faster_that_are_still_to_ask():
    fleet = fleet_of({"slow": 1.0, "fast": 4.0}, num_jobs=3)
    found = granted(fleet, ["island-of-slow", "island-of-fast"])
    assert found == {"island-of-slow": "job-1", "island-of-fast": "job-0"}


def test_island_goes_without_a_job_for_no_faster_one():
    fleet = fleet_of({"slow": 1.0, "fast": 4.0}, num_jobs=1)
    assert granted(fleet, ["island-of-slow"]) == {"island-of-slow": "job-0"}


def test_faster_island_at_work_is_left_nothing():
    fleet = fleet_of({"slow": 1.0, "fast": 4.0}, num_jobs=3)
    found = granted(fleet, ["island-of-fast", "island-of-slow"])
    assert found == {"island-of-fast": "job-0", "island-of-slow": "job-1"}


def test_faster_island_whose_node_is_gone_is_left_nothing():
    fleet = fleet_of({"slow": 1.0, "fast": 4.0}, num_jobs=2)
    fleet = fleet.after(matching.seen(fleet, [Node("island-of-slow", alive=True, provider="slow")]))
    assert granted(fleet, ["island-of-slow"]) == {"island-of-slow": "job-0"}


def test_islands_that_are_all_alike_get_the_jobs_in_their_order():
    fleet = fleet_of({}, num_jobs=3)
    assert list(granted(fleet, ["b", "c", "a"]).values()) == ["job-0", "job-1", "job-2"]
