from __future__ import annotations

import pytest

from atoll.config_file import read_config
from atoll.errors import BadInput
from orchestrator.planning.networks import Network
from orchestrator.planning.spot import simulate_spot
from orchestrator.planning.work import Part

CONFIG = read_config(None, ["training.steps=40000", "training.checkpoint_every_steps=400"])
EXPERTS = Part("expert", 4, Network(10**8, 1, 1, 1, 1, 1, 1, 0), 1, 40_000)


def test_spot_nodes_that_live_for_ever_lose_nothing():
    found = simulate_spot(CONFIG, EXPERTS, 1.0, lifetime_h=1e9, bytes_per_s=1e8)
    assert found.done
    assert found.days == found.calm_days
    assert (found.reclaims, found.work_lost, found.read_bytes) == (0, 0.0, 0.0)
    # 300 s until there are nodes, 60 s to the first step, the steps, the last upload of 16 s.
    assert found.calm_days * 86400 == pytest.approx(40_000 + 300 + 60 + 16, abs=5)
    assert found.paid_hours == pytest.approx(4 * (found.days * 24 - 300 / 3600), rel=1e-6)


def test_spot_nodes_that_are_taken_back_cost_time_and_work():
    found = simulate_spot(CONFIG, EXPERTS, 1.0, lifetime_h=3.0, bytes_per_s=1e8)
    assert found.done
    assert found.days > found.calm_days
    assert found.reclaims > 0
    assert 0 < found.work_lost < 0.2
    assert found.overhead > 1
    assert found.read_bytes == found.reclaims * 16 * 10**8


def test_island_of_two_nodes_is_interrupted_twice_as_often_and_pays_for_both():
    two = read_config(None, ["island.nodes=2"])
    two = CONFIG.model_copy(update={"island": two.island})
    one = simulate_spot(CONFIG, EXPERTS, 1.0, lifetime_h=1.5, bytes_per_s=1e8)
    found = simulate_spot(two, EXPERTS, 1.0, lifetime_h=3.0, bytes_per_s=1e8)
    assert (found.reclaims, found.days) == (one.reclaims, one.days)
    assert found.paid_hours == 2 * one.paid_hours
    assert found.overhead == one.overhead


def test_spot_nodes_that_hardly_live_are_refused():
    with pytest.raises(BadInput, match="--lifetime-h"):
        simulate_spot(CONFIG, EXPERTS, 1.0, lifetime_h=1e-4, bytes_per_s=1e8)
