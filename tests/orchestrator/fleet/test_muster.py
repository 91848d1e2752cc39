"""Who of an island's nodes train together, and who leads them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.gangs import Call, Gang, GangNode, Meeting
from orchestrator.fleet import muster
from orchestrator.fleet.muster import Muster, Sizes

SIZES = Sizes(fewest=2, most=3, silence_s=10.0, patience_s=60.0)
NODES = ("a", "b", "c", "d")


def call(name: str, gang: Gang, **said) -> Call:
    return Call("island-1", GangNode(name, f"10.0.0.{NODES.index(name)}"), gang, **said)


@dataclass
class Scene:
    """A muster, the time, and what each node was told last."""

    sizes: Sizes = SIZES
    now: float = 100.0
    muster: Muster = field(default_factory=lambda: Muster("island-1", formed_at=100.0))
    told: dict[str, Gang] = field(default_factory=dict)
    words: str = ""

    def hear(self, *names: str, **said) -> Gang:
        for name in names:
            spoken = call(name, self.told.get(name, Gang()), **said)
            self.muster = muster.heard(self.muster, spoken, self.now)
            self.told[name] = self.muster.gang
        return self.muster.gang

    def decide(self, seconds: float = 0.0) -> tuple[str, ...]:
        self.now += seconds
        self.muster, words = muster.decided(self.muster, self.sizes, self.now)
        self.words = words or self.words
        return self.muster.gang.names

    def pass_by(self, seconds: int, *names: str) -> tuple[str, ...]:
        """Time in which some are heard every second."""
        for _ in range(seconds):
            self.hear(*names)
            self.decide(1.0)
        return self.muster.gang.names


def test_muster_is_complete_at_once_with_the_most_nodes():
    scene = Scene()
    scene.hear("b", "a")
    assert scene.decide() == ()
    scene.hear("c")
    assert scene.decide() == ("b", "a", "c")
    assert scene.muster.gang.generation == 1
    assert scene.words == "new: b, a, c; b leads a, c"


def test_muster_waits_a_while_for_others_once_there_are_enough():
    scene = Scene()
    assert scene.pass_by(9, "a", "b") == ()
    assert scene.pass_by(2, "a", "b") == ("a", "b")


def test_muster_of_too_few_gives_up_after_a_while():
    scene = Scene()
    scene.pass_by(60, "a")
    assert not scene.muster.given_up
    scene.pass_by(2, "a")
    assert scene.muster.given_up
    assert scene.words == "1 of at least 2 nodes waited 60 s for others, and may go"


def test_muster_leaves_out_a_silent_node_and_keeps_the_order_of_the_others():
    scene = Scene()
    scene.hear("a", "b", "c")
    scene.decide()
    assert scene.pass_by(9, "a", "c") == ("a", "b", "c")
    assert scene.pass_by(1, "a", "c") == ("a", "c")
    assert scene.words == "lost: b; a leads c"


def test_muster_without_its_leader_is_led_by_the_next():
    scene = Scene()
    scene.hear("a", "b", "c")
    scene.decide()
    before = scene.muster
    assert scene.pass_by(11, "b", "c") == ("b", "c")
    assert scene.muster.has_lost_leader_of(before)


def test_muster_takes_a_node_in_that_comes_back_behind_the_others():
    scene = Scene()
    scene.hear("a", "b", "c")
    scene.decide()
    scene.pass_by(11, "b", "c")
    scene.hear("a")
    assert scene.decide() == ("b", "c", "a")


def test_muster_keeps_a_node_that_leaves_in_sight_until_it_is_gone():
    scene = Scene()
    scene.hear("a", "b", "c")
    scene.decide()
    before = scene.muster
    scene.hear("a", leaving=True)
    assert scene.decide() == ("b", "c")
    assert scene.muster.gang.others == ("a",)
    assert scene.words == "leaving: a; b leads c"
    assert not scene.muster.has_lost_leader_of(before)
    scene.pass_by(11, "b", "c")
    assert scene.muster.gang.others == ()


def test_muster_below_the_fewest_is_no_gang_and_waits():
    scene = Scene()
    scene.hear("a", "b")
    scene.pass_by(11, "a", "b")
    assert scene.pass_by(11, "a") == ()
    assert scene.words == "lost: b; 1 of at least 2 nodes wait for others"
    scene.hear("c", "d")
    assert scene.decide() == ("a", "c", "d")


def test_muster_has_no_room_for_more_than_the_most():
    scene = Scene()
    scene.hear(*NODES)
    assert scene.decide() == ("a", "b", "c")
    assert scene.pass_by(20, *NODES) == ("a", "b", "c")
    assert scene.muster.gang.generation == 1


def test_muster_unknown_after_a_restart_is_what_its_nodes_say():
    scene = Scene()
    scene.hear("a", "b", "c")
    scene.decide()
    scene.hear("a", "b", "c")
    gang = scene.muster.gang
    scene.muster = Muster("island-1", formed_at=scene.now)
    scene.hear("c")  # the others have a full time to be heard
    assert scene.decide() == ("a", "b", "c")
    assert scene.pass_by(30, "a", "b", "c") == ("a", "b", "c")
    assert scene.muster.gang == gang


def test_muster_goes_by_the_newest_gang_that_a_node_was_told_of():
    scene = Scene()
    scene.hear("a", "b", "c")
    scene.decide()
    scene.hear("c")
    scene.pass_by(12, "a", "b")
    scene.muster = Muster("island-1", formed_at=scene.now)
    scene.hear("c")
    assert scene.hear("a").names == ("a", "b")
    assert scene.hear("c", "b").generation == 2


def test_muster_tells_where_to_meet_only_by_its_leaders_word_for_this_gang():
    scene = Scene()
    scene.hear("a", "b", "c")
    scene.decide()
    scene.hear("b", meeting=Meeting(1, 7, 4000))
    assert scene.muster.meeting is None
    scene.hear("a", meeting=Meeting(0, 7, 4000))
    assert scene.muster.meeting is None
    scene.hear("a", meeting=Meeting(1, 7, 4000))
    scene.hear("b")
    assert scene.muster.meeting == Meeting(1, 7, 4000)
    scene.hear("a")
    assert scene.muster.meeting is None


def test_muster_spares_all_but_the_long_silent_after_an_absence():
    scene = Scene()
    scene.hear("a", "b", "c")
    scene.decide()
    scene.pass_by(8, "a", "b")
    scene.now += 100
    scene.muster = muster.spared(scene.muster, 100.0, SIZES, scene.now)
    assert scene.decide() == ("a", "b", "c")
    scene.pass_by(8, "a", "b")
    scene.now += 3
    scene.muster = muster.spared(scene.muster, 0.5, SIZES, scene.now)
    assert scene.decide() == ("a", "b")


steps = st.one_of(
    st.tuples(st.just("hear"), st.sampled_from(NODES)),
    st.tuples(st.just("leave"), st.sampled_from(NODES)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 4.0, 11.0])),
    st.tuples(st.just("restart"), st.none()),
)


@pytest.mark.parametrize("fewest", [1, 2, 3])
@given(st.lists(steps, max_size=60))
@settings(max_examples=60)
def test_muster_has_one_leader_a_generation_whatever_its_nodes_do(fewest, moves):
    scene = Scene(sizes=Sizes(fewest, 3, 10.0, 60.0))
    generations: dict[int, tuple[str, ...]] = {}
    for kind, what in moves:
        before, living = scene.muster, {each.node.name for each in scene.muster.present}
        if kind == "restart":
            # An orchestrator that knows nothing, in the moment after every node heard of the gang.
            scene.hear(*living)
            scene.muster = Muster("island-1", formed_at=scene.now)
            scene.hear(*living)
            assert scene.muster.gang.names == before.gang.names
            if not living:
                scene.told.clear()
                generations.clear()
            continue
        if kind == "wait":
            scene.now += what
        else:
            scene.hear(what, leaving=kind == "leave")
        names = scene.decide()
        gang = scene.muster.gang
        assert gang.generation - before.gang.generation in {0, 1}
        assert len(set(names)) == len(names) <= 3
        assert not names or len(names) >= fewest
        assert generations.setdefault(gang.generation, names) == names
        staying = {each.node.name for each in scene.muster.present if not each.leaving}
        assert set(names) <= staying
        if names and before.gang.leader in staying:
            assert gang.leader == before.gang.leader
        kept = [name for name in before.gang.names if name in staying]
        if names:
            assert list(names[: len(kept)]) == kept
