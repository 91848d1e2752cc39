"""What a leader makes of the words of its followers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from atoll.gangs import Answer, Call, Gang, GangNode, Trouble
from atoll.types import Ending, Lease, Outcome
from cluster.contact import Contact
from cluster.gathering import Gathering
from cluster.leading import Leading

LEASE = Lease("expert-0", "island-1", 7, 10.0)
A, B, C = (GangNode(name, "127.0.0.1") for name in "abc")
CLOSED = Outcome(Ending.FAILED, "connection closed by peer", "its log")
KILLED = Outcome(Ending.FAILED, "killed by signal 9")


@dataclass
class Teller:
    """A control plane that tells what the test says, and a clock; it hears all calls."""

    now: float = 100.0
    answer: Answer = field(default_factory=lambda: Answer(Gang(3, (A, B, C))))
    heard: list[Call] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def gather(self, call: Call, deadline_s: float) -> Answer:
        self.heard.append(call)
        return self.answer


@pytest.fixture
def teller():
    return Teller()


@pytest.fixture
def leading(teller):
    gathering = Gathering(teller, "island-1", A, Contact(600.0, teller), teller)
    gathering.look()
    return Leading(gathering, LEASE, teller)


def tell(teller, leading, folder, *troubles: Trouble, seconds: float = 5.0, **gang) -> str:
    teller.now += seconds
    teller.answer = Answer(replace(teller.answer.gang, **gang), troubles=troubles)
    return leading.look(folder, leaving=False)


def trouble(node: str, outcome: Outcome, epoch: int = 7) -> Trouble:
    return Trouble(node, epoch, outcome)


def test_leader_whose_work_ends_well_asks_nobody(leading):
    for ending in (Ending.FINISHED, Ending.DRAINED, Ending.PREEMPTED, Ending.REFUSED):
        assert leading.judged(Outcome(ending)) == Outcome(ending)
    assert leading.judged(None) is None


def test_leader_waits_for_all_to_say_how_they_ended(leading, teller, tmp_path):
    assert leading.judged(CLOSED) is None
    tell(teller, leading, tmp_path, trouble("c", CLOSED))
    assert leading.judged(CLOSED) is None
    tell(teller, leading, tmp_path, trouble("b", KILLED), trouble("c", CLOSED))
    assert leading.judged(CLOSED) == Outcome(
        Ending.FAILED,
        "b: killed by signal 9; c: connection closed by peer; "
        "the leader: connection closed by peer",
        "its log",
    )


def test_leader_waits_no_longer_than_a_lost_node_takes_to_be_known(leading, teller, tmp_path):
    assert leading.judged(CLOSED) is None
    tell(teller, leading, tmp_path, seconds=14)
    assert leading.judged(CLOSED) is None
    tell(teller, leading, tmp_path, seconds=2)
    assert leading.judged(CLOSED) == replace(CLOSED, reason=f"the leader: {CLOSED.reason}")


def test_leader_that_hangs_ends_for_a_followers_trouble(leading, teller, tmp_path):
    tell(teller, leading, tmp_path, trouble("b", KILLED))
    assert leading.judged(None) is None
    tell(teller, leading, tmp_path, trouble("b", KILLED), seconds=16)
    assert leading.judged(None) == replace(KILLED, reason=f"b: {KILLED.reason}")


def test_leader_takes_what_no_other_try_can_mend_at_once(leading, teller, tmp_path):
    damaged = Outcome(Ending.DAMAGED, "state/0.safetensors is gone")
    tell(teller, leading, tmp_path, trouble("b", KILLED), trouble("c", damaged))
    assert leading.judged(None) == replace(damaged, reason=f"c: {damaged.reason}")


def test_leader_goes_by_no_trouble_under_another_lease(leading, teller, tmp_path):
    tell(teller, leading, tmp_path, trouble("b", KILLED, epoch=6), seconds=100)
    assert leading.judged(None) is None


def test_leader_without_a_lost_node_gives_the_lease_back(leading, teller, tmp_path):
    assert tell(teller, leading, tmp_path, generation=4, nodes=(A, C), why="lost: b") == ""
    assert leading.judged(None) == Outcome(Ending.NODE_LOST, "b was lost")
    assert leading.judged(CLOSED) == Outcome(Ending.NODE_LOST, "b was lost")


@pytest.mark.parametrize(
    "gang",
    [
        {"nodes": (A, B, C, GangNode("d", "127.0.0.1"))},
        {"nodes": (A, B), "others": ("c",)},
        {"nodes": (), "others": ("a", "b", "c")},
    ],
)
def test_leader_drains_for_who_comes_or_leaves(leading, teller, tmp_path, gang):
    assert tell(teller, leading, tmp_path) == ""
    assert tell(teller, leading, tmp_path, generation=4, why="so it is", **gang) == "so it is"
    assert leading.judged(None) is None


def test_leader_says_where_its_trainer_waits_once_it_does(leading, teller, tmp_path):
    from atoll.node_place import write_meeting

    tell(teller, leading, tmp_path)
    assert teller.heard[-1].meeting.port == 0
    write_meeting(tmp_path, "127.0.0.1", 4000)
    leading.look(tmp_path, leaving=False)  # at once: it is news
    said = teller.heard[-1].meeting
    assert (said.generation, said.epoch, said.port) == (3, 7, 4000)
