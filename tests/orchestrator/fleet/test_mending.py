from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from cluster.provider import Node
from orchestrator.fleet import mending, operations, steering
from orchestrator.fleet.mending import Mending

BACKOFF_S = 1.0


@dataclass
class Watch:
    """Looks at one island every half a second."""

    game: object
    mending: Mending = field(default_factory=Mending)

    def submitted(self, seconds: float, missing: int, *, alive: bool = True) -> list[float]:
        """When it was submitted again, from now on."""
        begin, due_at = self.game.now, []
        node = Node("island-1", alive=alive, missing=missing)
        while self.game.now < begin + seconds:
            now = self.game.now
            self.mending, due = mending.look(self.mending, self.game.fleet, [node], BACKOFF_S, now)
            due_at += [now - begin for _ in due]
            self.game.now += 0.5
        return due_at


@pytest.fixture
def watch(game):
    game.submit()
    game.ask("island-1")
    return Watch(game)


def test_mending_waits_longer_each_time(watch):
    assert watch.submitted(16, missing=1) == [1.0, 3.0, 7.0, 15.0]


def test_mending_begins_anew_once_an_island_was_whole_for_long_enough(watch):
    assert watch.submitted(4, missing=1) == [1.0, 3.0]
    assert watch.submitted(2, missing=0) == []
    assert watch.submitted(8, missing=1) == [1.0]  # its pause goes on
    watch.submitted(20, missing=0)
    assert watch.submitted(2, missing=1) == [1.0]
    assert watch.submitted(20, missing=0) == []
    assert not watch.mending.gaps


def test_mending_leaves_the_dead_and_the_whole_alone(watch):
    assert watch.submitted(5, missing=0) == []
    assert watch.submitted(5, missing=2, alive=False) == []


@pytest.mark.parametrize("how", ["drain", "drain island"])
def test_mending_brings_nobody_back_who_is_to_leave(watch, game, how):
    if how == "drain":
        game.apply(operations.drain(game.fleet, "enough"))
    else:
        game.apply(steering.drain_island(game.fleet, "island-1", "enough"))
    assert watch.submitted(5, missing=1) == []
