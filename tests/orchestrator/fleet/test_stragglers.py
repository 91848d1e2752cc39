from __future__ import annotations

import pytest

from atoll.types import JobState, Progress, Role
from atoll.views import JobView
from orchestrator.fleet.stragglers import lagging


@pytest.fixture
def view(spec):
    def make(name, pace, state=JobState.LEASED, role=Role.EXPERT):
        of = spec(name=name)
        of = type(of)(name, role, 0, of.run_uri, of.steps, of.digest)
        return JobView(of, state, 1, "island-1", 0, "", Progress(5, 1.0, pace), None)

    return make


def test_lagging_are_those_below_half_the_median_of_their_role(view):
    jobs = [view("a", 100.0), view("b", 90.0), view("c", 30.0), view("d", 110.0)]
    assert lagging(jobs) == {"c": pytest.approx(30 / 95)}


def test_lagging_compares_no_roles_and_no_pairs(view):
    jobs = [view("a", 100.0), view("b", 10.0), view("m", 1.0, role=Role.MONOLITH)]
    assert lagging(jobs) == {}


def test_lagging_leaves_out_who_does_not_train(view):
    jobs = [view("a", 100.0), view("b", 100.0), view("c", 10.0, JobState.DONE), view("d", 0.0)]
    assert lagging(jobs) == {}
