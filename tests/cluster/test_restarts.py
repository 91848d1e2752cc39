"""How often, and after which pause, an island starts its trainer anew."""

from __future__ import annotations

from cluster.restarts import Restarts


def test_restarts_end_unless_a_checkpoint_comes_between() -> None:
    restarts = Restarts(2)
    assert [restarts.begin(), restarts.begin()] == [0.5, 1.0]
    assert not restarts.may
    assert restarts.words == "; its island had started it anew 2 times"
    restarts.forgive()
    assert restarts.may
    assert restarts.words == ""
    assert restarts.begin() == 0.5
    assert restarts.num == 3  # each has a folder of its own for what it uploads


def test_restarts_never_pause_for_long() -> None:
    restarts = Restarts(100)
    assert max(restarts.begin() for _ in range(100)) == 30.0


def test_island_that_may_not_restart_leaves_it_to_others() -> None:
    assert not Restarts(0).may
    assert Restarts(0).words == ""
