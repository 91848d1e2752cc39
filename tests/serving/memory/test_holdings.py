"""Who comes into memory, who stays, and who leaves: decided without a thread, and by any clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import BlobError
from serving.engine.tick import Left
from serving.memory.holdings import Demand, Holdings
from serving.memory.source import Source
from tests.fakes import ManualClock

NAMES = "abcd"
SOURCES = {name: Source(name, number, name, 10, dict, dict) for number, name in enumerate(NAMES)}


def named(names):
    return [SOURCES[name] for name in names]


class Memory:
    """Holdings, filled as a thread would fill them, each expert taking so long to come."""

    def __init__(self, budget_bytes):
        self.clock, self.left = ManualClock(), []
        self.holdings = Holdings(budget_bytes, self.clock, self.left.append)

    def admit(self, names=NAMES):
        self.holdings.demands.append(Demand(named(names)))
        return self.holdings.demands[-1]

    def tell(self, wanted="", later="", soon="", used="", demand=None):
        demand = demand or self.holdings.demands[0]
        demand.wanted, demand.later, demand.soon = named(wanted), named(later), named(soon)
        self.holdings.note_used(set(used))

    def fill(self, seconds=0.0):
        """Bring whoever is to come; all that are in memory then, by name."""
        came = 0
        while source := self.holdings.next():
            self.holdings.make_room(source)
            self.clock.now += seconds
            self.holdings.came(source, source.key, seconds)
            came += 1
            assert came < 100, "they drive each other out"
        return "".join(sorted(self.holdings.fields))


@pytest.fixture
def room_for():
    def make(num):
        memory = Memory(10 * num)
        memory.admit()
        return memory

    return make


def test_wanted_comes_and_the_least_recently_used_leaves(room_for):
    memory = room_for(2)
    memory.tell("ab")
    assert memory.fill() == "ab"
    memory.tell("ab", used="b")
    memory.tell("ab", used="a")  # later than b
    memory.tell("c")
    assert memory.fill() == "ac"
    assert memory.left == [Left(1)]


def test_who_is_needed_least_leaves_first(room_for):
    memory = room_for(3)
    memory.tell("abc")
    memory.fill()
    memory.tell("abc", used="abc")
    memory.tell("d", later="a", soon="b")
    assert memory.fill() == "abd"
    memory.tell("dc", later="a", soon="b")
    assert memory.fill() == "acd"


def test_who_was_waited_for_stays_until_it_was_called_or_nobody_waits_for_it(room_for):
    memory = room_for(1)
    memory.tell("ab")
    assert memory.fill() == "a"
    memory.tell("ba")
    assert memory.fill() == "a"
    memory.tell("ba", used="a")
    assert memory.fill() == "b"
    memory.tell("c")
    assert memory.fill() == "c"


@pytest.mark.parametrize(("took_s", "stays_s"), [(1, 3), (2, 6), (60, 10)])
def test_who_was_waited_for_stays_some_times_as_long_as_it_took_to_come(room_for, took_s, stays_s):
    memory = room_for(1)
    memory.tell("a")
    memory.fill(took_s)
    memory.tell("b", later="a", used="a")
    memory.clock.now += stays_s - 0.1
    assert memory.fill() == "a"
    assert memory.holdings.pause_s() == pytest.approx(0.1)
    memory.clock.now += 0.2
    assert memory.fill() == "b"


def test_who_came_on_a_guess_leaves_for_who_is_wanted_however_long_it_took(room_for):
    memory = room_for(2)
    memory.tell(soon="ab")
    assert memory.fill(60) == "ab"
    memory.tell("cd", later="ab")
    assert memory.fill() == "cd"


def test_whom_others_wait_for_comes_before_who_is_only_likely(room_for):
    memory = room_for(2)
    memory.tell("a", soon="b")
    assert memory.fill() == "ab"
    memory.tell("a", later="c", soon="b")
    assert memory.fill() == "ac"


def test_nobody_leaves_for_an_equal(room_for):
    memory = room_for(2)
    memory.tell(soon="ab")
    memory.fill()
    memory.tell("b", soon="c")
    assert memory.fill() == "bc"
    memory.tell("b", soon="ca")
    memory.tell("bc", soon="a")
    memory.tell(later="bca")
    assert memory.fill() == "bc"


def test_shortage_lets_go_of_what_is_not_needed_and_ends_guesses_for_a_while(room_for):
    memory = room_for(4)
    memory.tell(soon="abcd")
    memory.fill()
    memory.holdings.spare({"b"})
    assert memory.fill() == "b"
    memory.clock.now += 59
    assert memory.fill() == "b"
    memory.tell("c", soon="abd")
    assert memory.fill() == "bc"
    memory.clock.now += 2
    assert memory.fill() == "abcd"


def test_shortage_of_one_that_is_wanted_lets_go_of_who_is_needed_least(room_for):
    memory = room_for(4)
    memory.tell("ab", soon="c")
    memory.fill()
    memory.tell("ad", later="c", used="ab")
    memory.holdings.failed(SOURCES["d"], MemoryError())
    assert sorted(memory.holdings.fields) == ["a", "c"]


def test_guess_that_there_is_no_memory_for_drives_out_nobody(room_for):
    memory = room_for(4)
    memory.tell("a", later="b")
    memory.fill()
    memory.tell("a", later="b", soon="c", used="a")
    memory.holdings.failed(SOURCES["c"], MemoryError())
    memory.clock.now += 59
    assert memory.fill() == "ab"


def test_one_that_came_for_an_edition_that_has_left_is_in_nobodys_way(room_for):
    memory = room_for(1)
    newer = memory.admit()
    memory.tell("a", demand=newer)
    memory.fill()
    memory.holdings.dismiss(newer)
    memory.tell(later="b")
    assert memory.fill() == "b"


NEEDS = st.text(NAMES, max_size=4).map(lambda names: "".join(dict.fromkeys(names)))
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.tuples(NEEDS, NEEDS, NEEDS, NEEDS, st.integers(0, 9))),
        st.tuples(st.just("admit"), NEEDS.filter(bool)),
        st.tuples(st.just("dismiss"), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.floats(0, 70)),
        st.tuples(st.just("bring"), st.floats(0, 20)),
        st.tuples(st.just("fail"), st.sampled_from([MemoryError(), BlobError("no answer")])),
        st.tuples(st.just("spare"), NEEDS),
    ),
    max_size=40,
)


@given(st.integers(1, 4), MOVES)
def test_budget_is_kept_and_there_is_a_way_to_make_room_whatever_happens(num, moves):
    memory = Memory(10 * num)
    memory.admit()
    for move, what in moves:
        demands = memory.holdings.demands
        match move:
            case "tell" if demands:
                *needs, number = what
                demand = demands[number % len(demands)]
                wanted, later, soon, used = (
                    "".join(name for name in each if SOURCES[name] in demand.sources)
                    for each in needs
                )
                memory.tell(wanted, later, soon, used, demand)
            case "admit":
                memory.admit(what)
            case "dismiss" if demands:
                memory.holdings.dismiss(demands[what % len(demands)])
            case "wait":
                memory.clock.now += what
            case "bring" if source := memory.holdings.next():
                memory.holdings.make_room(source)
                memory.clock.now += what
                assert memory.holdings.came(source, source.key, what)
            case "fail" if source := memory.holdings.next():
                memory.holdings.failed(source, what)
            case "spare":
                memory.holdings.spare(set(what))
        assert 10 * len(memory.holdings.fields) <= 10 * num
        assert memory.holdings.fields.keys() <= memory.holdings.known
    if memory.holdings.demands:
        memory.clock.now += 100
        memory.fill()
        for demand in memory.holdings.demands:
            demand.wanted, demand.later, demand.soon = (), (), ()
        memory.tell("".join(source.key for source in memory.holdings.demands[0].sources[:1]))
        memory.clock.now += 100
        assert memory.holdings.demands[0].sources[0].key in memory.fill()
