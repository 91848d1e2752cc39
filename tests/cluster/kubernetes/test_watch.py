"""What is remembered of islands from one look to the next."""

from __future__ import annotations

import logging

import pytest

from atoll.clock import SystemClock
from cluster.kubernetes.sight import Sight
from cluster.kubernetes.watch import Watch
from cluster.provider import Node
from tests.cluster.kubernetes.test_sight import AT_WORK, FAILED, disrupted, over, pod


class Clock(SystemClock):
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def look(clock):
    """One look at an island of which a cluster holds this."""
    watch = Watch(start_s=60, clock=clock)

    def at(*pods: dict, jobset: dict = AT_WORK, cancelled: bool = False) -> Node:
        if cancelled:
            watch.cancelled("island-1")
        sights = {"island-1": Sight(jobset, (), pods)} if jobset or pods else {}
        (node,) = watch.nodes(sights)
        return node

    return at


def unscheduled() -> dict:
    said = {"type": "PodScheduled", "status": "False", "message": "no room"}
    return pod("Pending", conditions=[said])


def test_island_that_waits_too_long_is_given_up_with_what_it_waits_for(look, clock):
    assert look(unscheduled()).waiting
    clock.now = 60.0
    assert look(unscheduled()).alive
    clock.now = 60.1
    ended = look(unscheduled())
    assert ended.reason == "it did not begin in 60 s, waiting for a node: no room"


def test_island_that_has_begun_waits_for_nothing_any_more(look, clock):
    assert not look(pod("Running")).waiting
    clock.now = 1000.0
    between = look()  # its pod is gone, and its JobSet has not heard of it
    assert (between.alive, between.waiting) == (True, False)


def test_island_that_works_with_some_pods_is_not_given_up_for_those_that_wait(look, clock, caplog):
    caplog.set_level(logging.INFO)
    assert not look(pod("Running"), unscheduled()).waiting
    clock.now = 1000.0
    assert look(pod("Running"), unscheduled()) == Node("island-1", alive=True)
    assert look(unscheduled(), unscheduled()) == Node("island-1", alive=True)
    (told,) = (record.fields for record in caplog.records if record.message == "waits")
    assert told == {"island": "island-1", "for": "a node: no room"}


def test_notice_is_forgotten_once_others_came_in_place_of_those_taken(look):
    taken = pod("Failed", conditions=disrupted("EvictionByEvictionAPI", "drain"))
    look(taken, taken)
    look(pod("Running"), pod("Running"))
    assert look(jobset=over(FAILED)).reason == "its JobSet has ended"


def test_notice_outlives_the_pod_it_was_given_to(look):
    assert look(pod("Running", conditions=disrupted("EvictionByEvictionAPI", "drain"))).alive
    assert look(jobset=over(FAILED)).reason == "it was evicted: drain"


def test_end_is_told_alike_when_nothing_is_left(look):
    ended = look(pod("Failed", reason="NodeLost", message=""), jobset=over(FAILED))
    assert not ended.cleared
    vanished = look(jobset={}, cancelled=True)
    assert (vanished.reason, vanished.cleared) == ("its pod failed (NodeLost)", True)


def test_jobset_that_somebody_deletes_leaves_an_end_that_is_news(look):
    assert look(pod("Running")).alive
    assert look(pod("Running"), jobset={}).alive  # it has its time
    assert look(jobset={}) == Node("island-1", alive=False, reason="its JobSet was deleted")
