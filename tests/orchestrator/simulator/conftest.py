"""Worlds to simulate: everything at fault for an hour, or nothing at all."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.fleet.state import Policy
from orchestrator.simulator.world import World


def make_world(**changes: Any) -> World:
    calm: dict[str, Any] = {
        "num_islands": 4,
        "steps": 3000,
        "checkpoint_every_steps": 300,
        "step_s": 1.0,
        "provision_s": 60.0,
        "start_s": 20.0,
        "max_s": 86400.0,
        "policy": Policy(term_s=10.0, max_failures=5, backoff_s=1.0),
    }
    return World(**(calm | changes))


@pytest.fixture
def world():
    return make_world
