"""Several providers as one: who starts what, and what is left of it when one fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.clock import SystemClock
from atoll.errors import ConfigError, IslandError
from cluster.background import Background
from cluster.provider import Capabilities, Node, NodeSpec
from cluster.several import Several
from tests.fakes import ManualClock


@dataclass
class Place:
    """A provider whose nodes live and die as the test says."""

    room: int | None = None
    gpus: int = 0
    elsewhere: bool = False
    nodes: dict[str, Node] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    trouble: str = ""
    refusal: str = ""

    def capabilities(self) -> Capabilities:
        return Capabilities(self.gpus, self.elsewhere, self.room)

    def validate(self, spec: NodeSpec) -> None:
        if self.trouble:
            raise IslandError(self.trouble)
        if self.refusal:
            raise ConfigError(self.refusal)

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        if self.trouble:
            raise IslandError(self.trouble)
        return self.nodes.setdefault(spec.island, Node(spec.island, alive=True))

    def list(self, label: str) -> tuple[Node, ...]:
        if self.trouble:
            raise IslandError(self.trouble)
        return tuple(self.nodes.values())

    def logs(self, island: str, num_lines: int) -> str:
        return f"of {island}\n"

    def cancel(self, island: str) -> None:
        self.cancelled.append(island)

    def end(self, island: str, reason: str = "exited with code 1", **more: bool) -> None:
        self.nodes[island] = replace(
            self.nodes[island], alive=False, waiting=False, reason=reason, **more
        )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def places() -> dict[str, Place]:
    return {"local": Place(), "slurm": Place(), "ssh": Place(room=1)}


@pytest.fixture
def several(places, clock) -> Several:
    return made(places, clock)


def made(places: dict[str, Place], clock: ManualClock) -> Several:
    shares = {"local": 1, "slurm": 2, "ssh": 1}
    return Several([(place, name, shares[name]) for name, place in places.items()], clock)


def spec_of(number: int) -> NodeSpec:
    return NodeSpec(f"island-{number}", "run", (), num_gpus=0)


def start(several: Several, *numbers: int) -> list[str]:
    """Where each went."""
    found = [several.submit(spec_of(number), f"island-{number}").provider for number in numbers]
    several.list("run")
    return found


def test_several_fill_each_provider_to_its_share(several):
    assert Counter(start(several, 1, 2, 3, 4)) == {"local": 1, "slurm": 2, "ssh": 1}
    assert {node.provider for node in several.list("run")} == {"local", "slurm", "ssh"}


def test_several_give_the_next_island_to_whom_one_was_lost(several, places, clock):
    where = dict(zip([1, 2, 3, 4], start(several, 1, 2, 3, 4), strict=True))
    clock.now += 100
    several.list("run")
    lost = next(number for number, name in where.items() if name == "ssh")
    places["ssh"].end(f"island-{lost}", "its node failed")
    several.list("run")
    assert start(several, 5) == ["ssh"]


def test_several_leave_a_provider_alone_whose_islands_die_young_and_try_it_again(
    several, places, clock
):
    start(several, 1, 2, 3, 4)
    clock.now += 100
    several.list("run")
    places["local"].end(next(iter(places["local"].nodes)))
    several.list("run")
    number, pauses = 5, []
    for _ in range(4):
        places["local"].nodes.clear()
        several.list("run")
        began = clock.now
        while start(several, number) != ["local"]:
            (place,) = (each for each in places.values() if f"island-{number}" in each.nodes)
            del place.nodes[f"island-{number}"]
            several.list("run")
            clock.now += 1
            number += 1
        pauses.append(round(clock.now - began))
        places["local"].end(f"island-{number}", "could not be started: the quota is used up")
        several.list("run")
        number += 1
    assert pauses == [0, 10, 20, 40]


def test_several_count_an_island_young_from_when_it_left_the_queue(several, places, clock):
    where = start(several, 1, 2, 3, 4)
    name = f"island-{where.index('slurm') + 1}"
    places["slurm"].nodes[name] = Node(name, alive=True, waiting=True)
    clock.now += 1000
    several.list("run")
    places["slurm"].end(name, "its image cannot be had")
    several.list("run")
    assert start(several, 5) != ["slurm"]


def test_several_blame_no_provider_for_what_was_cancelled(several, places, clock):
    start(several, 1, 2, 3, 4)
    places["local"].end(next(iter(places["local"].nodes)), "killed by signal 9", cleared=True)
    several.list("run")
    assert start(several, 5) == ["local"]


def test_several_prefer_providers_with_room(several, places):
    start(several, 1, 2, 3, 4)
    assert "ssh" not in start(several, *range(5, 20))


def test_several_count_the_nodes_of_islands_of_several(clock):
    places = {"slurm": Place(), "ssh": Place(room=5)}
    several = Several([(place, name, 1) for name, place in places.items()], clock)
    pairs = [replace(spec_of(number), num_nodes=2, min_nodes=2) for number in range(6)]
    where = Counter(several.submit(spec, spec.island).provider for spec in pairs)
    assert where == {"slurm": 4, "ssh": 2}


def test_several_pass_over_one_that_refuses_to_start(several, places, clock):
    places["slurm"].trouble = "sbatch does not answer"
    clock.now += 31  # as of a controller that went away later
    assert Counter(start(several, 1, 2, 3, 4)) == {"local": 3, "ssh": 1}
    for place in places.values():
        place.trouble = "gone"
    with pytest.raises(IslandError, match=r"slurm: gone"):
        several.submit(spec_of(5), "island-5")


def test_several_are_asked_for_the_same_island_where_it_is(several, places):
    first = several.submit(spec_of(1), "island-1")
    again = several.submit(spec_of(1), "island-1")
    assert first == again
    assert sum(len(place.nodes) for place in places.values()) == 1


def test_several_made_anew_know_whose_each_island_is(several, places, clock):
    start(several, 1, 2, 3, 4)
    later = made(places, clock)
    places["slurm"].trouble = "the controller sleeps"
    with pytest.raises(IslandError, match="slurm: the controller sleeps"):
        later.list("run")
    places["slurm"].trouble = ""
    assert len(later.list("run")) == 4
    (name,) = places["ssh"].nodes
    later.cancel(name)
    assert later.logs(name, 1) == f"of {name}\n"
    assert later.logs("island-99", 1) == ""
    assert places["ssh"].cancelled == [name]
    assert not places["local"].cancelled + places["slurm"].cancelled


def test_several_go_on_without_one_that_never_answers(several, places, clock):
    places["slurm"].trouble = "the controller sleeps"
    with pytest.raises(IslandError):
        several.list("run")
    clock.now += 30
    assert several.list("run") == ()


def test_several_validate_each_and_do_without_the_silent(several, places):
    places["slurm"].trouble = "the controller sleeps"
    several.validate(spec_of(0))
    assert start_of_two(several) == {"local", "ssh"}
    places["ssh"].refusal = "ssh.hosts is empty; name some"
    with pytest.raises(ConfigError, match=r"ssh\.hosts"):
        several.validate(spec_of(0))
    places["ssh"].refusal = ""
    for place in places.values():
        place.trouble = "gone"
    with pytest.raises(IslandError, match=r"local: gone; slurm: gone; ssh: gone"):
        several.validate(spec_of(0))


def start_of_two(several: Several) -> set[str]:
    return {several.submit(spec_of(number), str(number)).provider for number in (1, 2)}


def test_several_can_give_what_each_can(places, clock):
    several = made(places, clock)
    assert several.capabilities() == Capabilities(0, elsewhere=False, num_nodes=None)
    for place in places.values():
        place.room, place.gpus = 2, 8
    places["ssh"].elsewhere = True
    places["slurm"].gpus = 4
    assert several.capabilities() == Capabilities(4, elsewhere=True, num_nodes=6)


def test_several_start_nothing_where_nobody_answers_any_more(clock):
    """As behind :class:`Background`, which tells what it saw last."""
    far, near = Place(), Place()
    background = Background(far, "run", 0.01, SystemClock())
    until(lambda: background.trouble == "")
    several = Several([(background, "far", 5), (near, "near", 1)], clock)
    assert start(several, 1) == ["far"]
    until(lambda: "island-1" in far.nodes)
    far.trouble = "gone for good"
    until(lambda: background.trouble == "gone for good")
    (node,) = several.list("run")
    assert (node.alive, node.stale) == (True, True)
    assert start(several, 2, 3, 4) == ["near"] * 3


def until(holds: Callable[[], object]) -> None:
    clock = SystemClock()
    give_up_at = clock.monotonic() + 30
    while not holds():
        assert clock.monotonic() < give_up_at
        clock.sleep(0.01)


@given(
    shares=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    deaths=st.lists(st.integers(0, 100), max_size=30),
)
def test_several_keep_all_shares_whoever_dies_of_age(shares, deaths):
    clock = ManualClock()
    places = [Place() for _ in shares]
    members = zip(places, map(str, range(len(shares))), shares, strict=True)
    several = Several(members, clock)
    start(several, *range(sum(shares)))
    for number, which in enumerate(deaths):
        clock.now += 100
        alive = [node for node in several.list("run") if node.alive]
        victim = alive[which % len(alive)].island
        (place,) = (each for each in places if victim in each.nodes)
        place.end(victim)
        several.list("run")
        start(several, 1000 + number)
    assert [sum(node.alive for node in place.nodes.values()) for place in places] == shares
