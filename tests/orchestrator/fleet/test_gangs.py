"""What the nodes of an island of several ask of a whole fleet, and what befalls its lease."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from atoll.errors import LeaseLost, Refused
from atoll.gangs import Answer, Call, Gang, GangNode, Meeting, Seat, Trouble
from atoll.types import Assignment, Ending, JobState, Outcome
from orchestrator.fleet import gangs, operations, steering


@dataclass
class Crew:
    """The nodes of one island, each with what it was told last."""

    game: object
    island: str = "island-1"
    told: dict[str, Answer] = field(default_factory=dict)

    def say(self, *names: str, **said) -> Answer:
        game = self.game
        for name in names:
            gang = self.told[name].gang if name in self.told else Gang()
            call = Call(self.island, GangNode(name, f"addr-{name}"), gang, **said)
            game.apply(gangs.gather(game.fleet, call, game.now))
            self.told[name] = gangs.answer(game.fleet, self.island)
        return self.told[names[-1]]

    def tick(self, seconds: float, *names: str) -> Answer:
        """Time passes in which some are heard, as in the service."""
        for _ in range(round(seconds)):
            self.game.now += 1
            self.say(*names)
            self.game.apply(gangs.look(self.game.fleet, self.game.now))
            self.game.apply(operations.tick(self.game.fleet, self.game.now))
            self.game.apply(operations.silent(self.game.fleet, (), self.game.now))
        return self.say(*names)


@pytest.fixture
def crew(game):
    policy = replace(game.fleet.policy, max_nodes=2, min_nodes=1, gather_s=60.0)
    game.fleet = replace(game.fleet, policy=policy)
    game.submit()
    made = Crew(game)
    made.say("a", "b")
    made.tick(1, "a", "b")
    return made


def kinds(game) -> list[str]:
    return [event.kind for event in game.events]


def test_gang_is_told_to_all_and_kept_as_an_event(game, crew):
    assert crew.told["a"].gang.names == crew.told["b"].gang.names == ("a", "b")
    assert kinds(game)[-2:] == ["island-joined", "island-gathered"]
    assert game.events[-1].reason == "generation 1: new: a, b; a leads b"
    (view,) = game.fleet.view(game.now).islands
    assert (view.state, view.nodes) == ("idle", ("a", "b"))


@pytest.mark.parametrize(
    ("seat", "may"),
    [(Seat("a", 1), True), (Seat("a", 0), False), (Seat("b", 1), False), (None, False)],
)
def test_gang_lets_its_leader_alone_ask_for_work(game, crew, seat, may):
    assert gangs.may_acquire(game.fleet, "island-1", seat) is may


def test_island_of_one_node_asks_as_ever(game, crew):
    assert gangs.may_acquire(game.fleet, "island-2", None)
    assert not gangs.may_acquire(game.fleet, "island-2", Seat("a", 1))


def test_gang_at_work_is_told_what_to_train_and_where_to_meet(game, crew):
    lease = game.lease()
    told = crew.say("b")
    assert isinstance(told.assignment, Assignment)
    assert told.assignment.lease == lease
    assert told.meeting is None
    crew.say("a", meeting=Meeting(1, lease.epoch, 4000))
    assert crew.say("b").meeting == Meeting(1, lease.epoch, 4000)
    crew.say("a", meeting=Meeting(1, lease.epoch + 1, 4000))
    assert crew.say("b").meeting is None


def test_gang_hears_of_troubles_under_its_lease_alone(game, crew):
    lease = game.lease()
    for epoch, heard in ((lease.epoch, 1), (lease.epoch - 1, 0)):
        trouble = Trouble("b", epoch, Outcome(Ending.FAILED, "killed by signal 9"))
        crew.say("b", trouble=trouble)
        assert len(crew.say("a").troubles) == heard


def test_gang_without_its_leader_loses_the_lease_and_goes_on_under_a_new_epoch(game, crew):
    lease = game.lease()
    game.beat(lease)
    game.now += 0.5
    crew.tick(12, "b")
    job = game.job()
    assert (job.state, job.losses, job.island) == (JobState.WAITING, 1, "")
    assert kinds(game)[-2:] == ["island-gathered", "leader-lost"]
    for late in (lambda: game.beat(lease, 5), lambda: game.commit(lease, 10)):
        with pytest.raises(LeaseLost):
            late()
    assert gangs.may_acquire(game.fleet, "island-1", Seat("b", 2))
    assert game.lease().epoch == lease.epoch + 1
    assert game.fleet.islands["island-1"].state == "working"


def test_gang_without_a_follower_keeps_the_lease_until_its_leader_gives_it_back(game, crew):
    lease = game.lease()
    for _ in range(12):
        game.beat(lease)
        told = crew.tick(1, "a")
    assert told.gang.names == ("a",)
    assert told.assignment.lease == lease
    game.release(lease, Ending.NODE_LOST, "b was lost")
    assert (game.job().state, game.job().losses, game.job().failures) == (JobState.WAITING, 1, 0)
    assert kinds(game)[-1] == "node-lost"


def test_gang_whose_leader_leaves_keeps_the_lease_while_that_drains(game, crew):
    lease = game.lease()
    for _ in range(5):
        game.beat(lease)
        crew.say("a", leaving=True)
        told = crew.tick(1, "b")
    assert told.gang.names == ("b",)
    assert told.gang.others == ("a",)
    assert game.job().state is JobState.LEASED


def test_gang_that_is_heard_outlives_a_lease_that_runs_out(game, crew):
    game.lease()
    crew.tick(12, "a", "b")
    assert kinds(game)[-1] == "leader-lost"
    assert game.fleet.islands["island-1"].state == "idle"


def test_gang_that_is_silent_is_lost_with_its_island(game, crew):
    game.lease()
    for _ in range(12):
        game.now += 1
        game.apply(gangs.look(game.fleet, game.now))
        game.apply(operations.tick(game.fleet, game.now))
    assert not game.fleet.gangs
    assert kinds(game)[-1] == "island-lost"


def test_gang_of_a_fleet_that_is_over_is_dismissed(game, crew):
    assert not crew.say("b").dismissed
    lease = game.lease()
    game.commit(lease, 100)
    assert not crew.say("b").dismissed
    game.release(lease, Ending.FINISHED)
    assert crew.say("b").dismissed


def test_gang_of_an_island_that_is_to_leave_is_dismissed(game, crew):
    game.apply(steering.drain_island(game.fleet, "island-1", "enough"))
    assert crew.say("b").dismissed


def test_orchestrator_that_was_away_counts_no_node_as_lost(game, crew):
    game.now += 100
    game.apply(gangs.look(game.fleet, game.now))
    game.apply(operations.tick(game.fleet, game.now))
    assert crew.tick(5, "a").gang.names == ("a", "b")


@pytest.mark.parametrize(("nodes", "island"), [(1, "island-2"), (2, "expert-0")])
def test_gather_of_who_cannot_be_one_of_several_is_refused(game, crew, nodes, island):
    game.fleet = replace(game.fleet, policy=replace(game.fleet.policy, max_nodes=nodes))
    call = Call(island, GangNode("a", "addr"))
    with pytest.raises(Refused, match=r"island\.nodes|name of a job"):
        gangs.gather(game.fleet, call, game.now)


def test_gather_of_ever_more_nodes_is_refused(game, crew):
    crew.say(*(f"spare-{number}" for number in range(64)))
    with pytest.raises(Refused, match="has 66 nodes already, and needs no more"):
        crew.say("one-more")
    assert crew.say("a").gang.names == ("a", "b")
