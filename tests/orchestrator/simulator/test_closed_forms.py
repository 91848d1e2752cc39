"""Where the answer is known: no faults at all, and faults that come at random."""

from __future__ import annotations

import math

import pytest

from orchestrator.fleet.state import Policy
from orchestrator.simulator.faults import Cause
from orchestrator.simulator.islands import Islands
from orchestrator.simulator.pace import Pace
from orchestrator.simulator.synchronous import Synchronous

BOTH = pytest.mark.parametrize("model", [Islands, Synchronous])


def expected_lost_s(interval_s: float, lifetime_s: float) -> float:
    """Mean time since the last checkpoint at a failure: half the interval if failures are rare."""
    return lifetime_s - interval_s / math.expm1(interval_s / lifetime_s)


def expected_trained_s(interval_s: float, lifetime_s: float) -> float:
    """Mean time to train one interval without a failure between, tries included.

    Source: J. T. Daly, "A higher order estimate of the optimum checkpoint interval" (2006).
    """
    return lifetime_s * math.expm1(interval_s / lifetime_s)


def four_errors_s(interval_s: float, num: int) -> float:
    """Four standard errors of a mean over so many failures, each somewhere in an interval."""
    return 4 * interval_s / math.sqrt(12 * num)


@BOTH
def test_run_without_faults_takes_exactly_its_work(world, model):
    calm = world(
        steps=1000,
        checkpoint_every_steps=300,
        checkpoint_bytes=5e6,
        bandwidth_bytes_per_s=1e6,
        price_per_h=2.0,
    )
    found = model(calm, seed=0).run()
    assert found.ended_at == 60 + 20 + 1000 + 5
    assert (found.done, found.kept_steps, found.lost_s) == (True, 4 * 1000, 0.0)
    assert found.trained_s == 4 * 1000
    assert found.summary(calm)["cost"] == pytest.approx(4 * 1025 / 3600 * 2)


@BOTH
def test_run_with_slow_uploads_waits_for_each(world, model):
    slow = world(
        steps=900, checkpoint_every_steps=300, checkpoint_bytes=4e8, bandwidth_bytes_per_s=1e6
    )
    assert model(slow, seed=0).run().ended_at == 60 + 20 + 300 + 3 * 400


@BOTH
def test_run_on_slow_nodes_takes_as_much_longer(world, model):
    slow = world(slow_share=1.0, slow_speed=0.25)
    assert model(slow, seed=0).run().ended_at == 60 + 20 + 4 * 3000


def test_islands_lose_half_an_interval_for_each_failure(world):
    """The nearer to half, the rarer failures are; here the exact mean is 146 of 300 seconds."""
    found = Islands(world(num_islands=1000, lifetime_s=2000.0, start_s=0.0), seed=0).run()
    lost_s = found.lost_s / found.recoveries[Cause.RECLAIM]
    within = four_errors_s(300.0, found.recoveries[Cause.RECLAIM])
    assert lost_s == pytest.approx(expected_lost_s(300.0, 2000.0), abs=within)
    trained_s = found.trained_s / 1000
    assert trained_s == pytest.approx(10 * expected_trained_s(300.0, 2000.0), rel=0.01)


def test_island_waits_for_detection_and_a_new_node_after_each_failure(world):
    policy = Policy(term_s=10.0, max_failures=5, backoff_s=0.001)
    spot = world(num_islands=1, lifetime_s=2000.0, start_s=0.0, steps=60_000, policy=policy)
    islands = Islands(spot, seed=0)
    found = islands.run()
    num_nodes = islands.recovery.last_number
    waited_s = found.ended_at - found.trained_s - num_nodes * spot.provision_s
    assert num_nodes > 20
    assert 0 < waited_s < num_nodes * 2 * spot.look_s


def test_synchronous_nodes_lose_together(world):
    """Ten nodes that live 20,000 s fail like one that lives 2,000 s."""
    spot = world(num_islands=10, lifetime_s=20_000.0, provision_s=0.0, start_s=0.0)
    found = [Synchronous(spot, seed).run() for seed in range(300)]
    lost_s = sum(run.lost_s for run in found) / 10
    failures = sum(run.recoveries[Cause.RECLAIM] for run in found)
    within = four_errors_s(300.0, failures)
    assert lost_s / failures == pytest.approx(expected_lost_s(300.0, 2000.0), abs=within)
    trained_s = sum(run.trained_s for run in found) / 10 / len(found)
    assert trained_s == pytest.approx(10 * expected_trained_s(300.0, 2000.0), rel=0.02)


@BOTH
def test_run_with_an_equal_seed_ends_equally(world, model):
    spot = world(lifetime_s=2000.0, cuts_per_day=50.0, slow_share=0.3)
    first, again, other = (model(spot, seed).run() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_islands_stop_at_the_end_of_the_world(world):
    found = Islands(world(max_s=60.0 + 20.0 + 650.0), seed=0).run()
    assert (found.done, found.ended_at, found.kept_steps) == (False, 730.0, 4 * 600)


def test_nodes_that_never_stand_together_lose_no_share_of_nothing(world):
    hopeless = world(num_islands=1000, lifetime_s=2000.0, max_s=3600.0)
    summary = Synchronous(hopeless, seed=0).run().summary(hopeless)
    assert (summary["done"], summary["progress"], summary["work_lost"]) == (False, 0.0, None)


@pytest.mark.parametrize("upload_s", [0.0, 7.0, 450.0])
def test_pace_counts_what_is_committed_as_if_it_watched(upload_s):
    pace = Pace(100.0, 300, 2000, 300, 1.0, upload_s)
    times = [pace.committed_at(num) for num in range(1, 7)]
    assert times == sorted(times)
    assert times[-1] == pace.done_at
    for at in [*times, *(at - 1e-6 for at in times), 0.0, 100.0, 1e6]:
        assert pace.num_committed(at) == sum(time <= at for time in times)
    assert pace.trained_s(pace.done_at) == 1700.0
