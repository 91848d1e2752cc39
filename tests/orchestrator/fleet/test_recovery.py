from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.types import Ending, Wait
from cluster.provider import Node
from orchestrator.fleet import operations, steering
from orchestrator.fleet.islands import Islands
from orchestrator.fleet.recovery import Plan, Recovery, RecoveryPolicy, look
from orchestrator.fleet.state import Fleet

POLICY = RecoveryPolicy(num_islands=2, max_tries=2, backoff_s=1.0, young_s=30.0, orphan_s=600.0)


@pytest.fixture
def place(game, spec):
    return Place(game, spec)


class Place:
    """A provider that starts what it is told, and a fleet its islands speak to."""

    def __init__(self, game, spec, num_jobs: int = 4) -> None:
        self.game = game
        self.nodes: list[Node] = []
        self.recovery = Recovery()
        game.submit(*(spec(f"expert-{index}") for index in range(num_jobs)))

    def look(self) -> Plan:
        self.recovery, plan = look(
            self.recovery, self.game.fleet, self.nodes, POLICY, self.game.now
        )
        self.nodes += [Node(name, True) for name in plan.start]
        self.game.apply(steering.let_go(self.game.fleet, plan.dismiss))
        return plan

    def kill(self, island: str) -> None:
        self.nodes = [
            replace(node, alive=False) if node.island == island else node for node in self.nodes
        ]
        self.game.apply(operations.island_gone(self.game.fleet, island, "killed", self.game.now))


def test_recovery_starts_as_many_islands_as_are_wanted_once(place):
    place.look()
    assert place.look() == Plan()
    assert [node.island for node in place.nodes] == ["island-1", "island-2"]


def test_recovery_waits_for_who_stands_in_a_queue_however_long(place):
    place.look()
    place.nodes = [replace(node, waiting=True) for node in place.nodes]
    place.game.now += 100 * POLICY.young_s
    assert place.look() == Plan()
    place.nodes = [replace(node, waiting=False) for node in place.nodes]
    place.game.now += POLICY.young_s
    assert place.look() == Plan()
    place.game.now += 1
    assert place.look().held_back  # they run, and say nothing


def test_recovery_starts_no_more_islands_than_jobs_can_use(game, spec):
    place = Place(game, spec, num_jobs=1)
    assert place.look() == Plan(start=("island-1",))
    game.commit(game.lease("island-1"), 100)
    assert place.look() == Plan()


def test_recovery_of_an_empty_fleet_starts_nothing(game):
    assert look(Recovery(), Fleet(game.fleet.policy), [], POLICY, 0.0)[1] == Plan()


def test_recovery_replaces_a_dead_island_after_a_pause(place):
    place.look()
    place.kill("island-1")
    words = "1 island died young; the next is started in 1.0 s"
    assert place.look() == Plan(held_back=words)
    assert place.look() == Plan()
    place.game.tick(1)
    assert place.look() == Plan(start=("island-3",))


def test_recovery_replaces_an_old_island_at_once(place):
    place.look()
    lease = place.game.lease("island-1")
    for _ in range(40):
        place.game.tick(1)
        place.game.beat(lease)
        place.game.ask("island-2", "r")
        place.look()
    place.kill("island-1")
    assert place.look() == Plan(start=("island-3",))


def test_recovery_replaces_a_frozen_island_and_leaves_it_alone(place):
    place.look()
    place.game.lease("island-1")
    place.game.lease("island-2")
    place.game.tick(11)  # neither speaks; both processes are there
    place.look()
    place.game.tick(1)
    assert place.look() == Plan(start=("island-3", "island-4"))


HUNG_S = POLICY.orphan_s + 60  # silence after which no agent that lives is left


def test_recovery_stops_who_is_silent_for_longer_than_an_agent_that_lives_would_be(place):
    place.look()
    place.game.lease("island-1")
    place.look()  # from which on island-2 is seen, and never speaks
    place.game.tick(10)
    place.look()  # from which on island-1 is lost
    place.nodes = [replace(node, stale=True) for node in place.nodes]
    place.game.now += HUNG_S - 10
    assert place.look().hung == ()
    place.game.now += 1
    assert place.look().hung == ()
    place.nodes = [replace(node, stale=False) for node in place.nodes]
    assert place.look().hung == ("island-2",)
    place.game.now += 10
    assert place.look().hung == ("island-1", "island-2")
    place.kill("island-2")
    assert place.look().hung == ("island-1",)


def test_recovery_waits_anew_for_who_has_spoken_again(place):
    place.look()
    place.game.lease("island-1")
    place.game.tick(10)
    place.look()
    place.game.tick(HUNG_S)
    place.game.lease("island-1")
    assert "island-1" not in place.look().hung
    place.game.tick(10)
    place.look()
    place.game.now += HUNG_S
    assert "island-1" not in place.look().hung
    place.game.now += 1
    assert "island-1" in place.look().hung


def test_recovery_takes_nobody_who_works_or_stands_in_a_queue_for_hung(place):
    place.look()
    place.nodes[1] = replace(place.nodes[1], waiting=True)
    lease = place.game.lease("island-1")
    for _ in range(150):
        place.game.tick(5)
        place.game.beat(lease)
        assert place.look().hung == ()


def test_recovery_replaces_an_island_that_never_spoke(place):
    place.look()
    place.game.ask("island-2")
    place.game.tick(31)
    place.look()
    place.game.tick(1)
    assert place.look() == Plan(start=("island-3",))


def test_recovery_backs_off_longer_each_wave_then_gives_up(place):
    pauses = []
    place.look()
    for _ in range(POLICY.max_tries):
        for node in [node for node in place.nodes if node.alive]:
            place.kill(node.island)
        place.look()
        pauses.append(place.recovery.not_before - place.game.now)
        place.game.now += pauses[-1]
        assert len(place.look().start) == 2
    assert pauses == [1.0, 2.0]
    for node in [node for node in place.nodes if node.alive]:
        place.kill(node.island)
    assert place.look() == Plan(give_up=True)


def test_recovery_forgets_deaths_when_a_checkpoint_is_committed(place):
    for step in range(1, 20):
        place.game.tick(2)
        place.look()
        island = place.nodes[-1].island
        place.game.commit(place.game.lease(island), step)
        place.kill(island)
        assert not place.look().give_up


def test_recovery_never_restarts_adopted_islands(game, spec):
    """After a restart of the orchestrator nothing is remembered, and the islands still work."""
    place = Place(game, spec)
    place.look()
    lease = game.lease("island-1")
    game.apply(operations.restarted(game.fleet, (), game.now))
    place.recovery = Recovery()
    survivor = Islands().updated([game.fleet.islands["island-1"]])
    game.fleet = replace(game.fleet, islands=survivor)
    assert place.look() == Plan()
    game.beat(lease)
    assert place.look() == Plan()


def test_recovery_of_a_draining_fleet_starts_nothing(place):
    place.look()
    place.game.lease("island-1")
    place.game.apply(operations.drain(place.game.fleet, "enough"))
    place.kill("island-2")
    place.game.tick(5)
    assert place.look() == Plan()


def test_recovery_stops_what_is_left_once_all_is_over(game, spec):
    place = Place(game, spec, num_jobs=1)
    place.look()
    place.nodes.append(Node("island-2", alive=True))  # frozen long ago
    lease = game.lease("island-1")
    game.commit(lease, 100)
    game.release(lease, Ending.FINISHED)
    assert place.look() == Plan()
    game.tick(3)
    assert place.look() == Plan(stop=("island-1", "island-2"))


def test_recovery_never_uses_a_name_again(game, spec):
    place = Place(game, spec)
    place.nodes = [Node("island-9", False), Node("island-10", False)]
    assert place.look().start == ("island-11", "island-12")


def test_recovery_counts_an_island_that_could_not_be_started(game, spec):
    place = Place(game, spec)
    place.look()
    place.nodes.clear()
    place.look()
    assert place.recovery.num_young == 2


def finished(game, lease) -> None:
    game.commit(lease, 100)
    game.release(lease, Ending.FINISHED)


def test_recovery_lets_the_idle_go_once_fewer_jobs_are_open_than_islands_live(game, spec):
    place = Place(game, spec, num_jobs=2)
    place.look()
    done, other = game.lease("island-1"), game.lease("island-2")
    finished(game, done)
    game.ask("island-1")
    assert place.look() == Plan(dismiss=("island-1",))
    assert place.look() == Plan()  # told once, and neither missed nor replaced
    answer = game.ask("island-1")
    assert isinstance(answer, Wait)
    assert answer.dismissed
    place.kill("island-1")
    assert place.look() == Plan()
    assert place.recovery.num_young == 0
    game.beat(other)


def test_recovery_keeps_the_idle_as_long_as_a_job_waits_for_another_try(game, spec):
    place = Place(game, spec, num_jobs=2)
    place.look()
    lease, _ = game.lease("island-1"), game.lease("island-2")
    game.release(lease, Ending.FAILED, "broke")
    assert game.ask("island-1") != Wait(1.0, dismissed=True)
    assert place.look() == Plan()


def test_recovery_stops_who_stands_in_a_queue_before_it_lets_the_idle_go(game, spec):
    place = Place(game, spec, num_jobs=2)
    place.look()
    place.nodes = [place.nodes[0], replace(place.nodes[1], waiting=True)]
    finished(game, game.lease("island-1"))
    game.ask("island-1")
    again = game.lease("island-1")
    assert place.look() == Plan(stop=("island-2",))
    assert place.look() == Plan()
    place.kill("island-2")
    assert place.look() == Plan()
    finished(game, again)


def test_island_that_found_a_job_before_it_was_told_to_go_counts_again(game, spec):
    place = Place(game, spec, num_jobs=2)
    place.look()
    game.lease("island-2")
    finished(game, game.lease("island-1"))
    game.ask("island-1")
    place.recovery, plan = look(place.recovery, game.fleet, place.nodes, POLICY, game.now)
    assert plan.dismiss == ("island-1",)
    game.submit(spec("expert-9"))
    game.lease("island-1")
    game.apply(steering.let_go(game.fleet, plan.dismiss))
    assert place.look() == Plan()
    assert set(place.recovery.since) == {"island-1", "island-2"}


def test_recovery_lets_nobody_go_who_is_needed_and_starts_anew_for_more_jobs(game, spec):
    place = Place(game, spec, num_jobs=2)
    place.look()
    game.lease("island-2")
    finished(game, game.lease("island-1"))
    game.ask("island-1")
    place.look()
    game.ask("island-1")
    place.kill("island-1")
    place.look()
    game.submit(spec("expert-9"))
    assert place.look() == Plan(start=("island-3",))


def test_recovery_stops_all_when_settled_and_forsakes_whom_nobody_can_reach(place):
    place.look()
    place.nodes = [replace(place.nodes[0], stale=True), place.nodes[1]]
    place.game.apply(operations.give_up(place.game.fleet, "told to"))
    assert place.look() == Plan()
    place.game.now += 3
    both = ("island-1", "island-2")
    assert place.look() == Plan(stop=both)
    place.game.now += 30
    assert place.look() == Plan(stop=both, forsaken=("island-1",))
