"""Who keeps the others waiting, decided from what each process tells."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from atoll.beats import Beat, Collective, Phase
from cluster.hangs import Seen, hang

HANG_S = 30.0
REDUCE = Collective("gloo:all_reduce", "gloo 0", 9)
LONG = {"silent_s": 1.0, "still_s": 31.0}


def waits(rank, collective=REDUCE, phase=Phase.STEP, world=2, **times):
    entered = {collective.group: collective.number} if collective.group else {}
    beat = Beat(rank, world, 47, phase, entered, (collective,), "graph.py:869")
    return Seen(beat, **{**LONG, **times})


def computes(rank, come_to=8, phase=Phase.STEP, world=2, **times):
    entered = {REDUCE.group: come_to}
    return Seen(Beat(rank, world, 47, phase, entered, (), "mine.py:3 in nap"), **{**LONG, **times})


def test_rank_that_beats_no_more_is_named_whatever_it_was_at():
    for phase in set(Phase) - {Phase.END}:
        words = hang([waits(0), computes(1, phase=phase, silent_s=30.0)], HANG_S)
        assert words == (
            "rank 1 of 2 gave no sign of life for 30 s; rank 0 of 2 waits in gloo:all_reduce"
        )


def test_rank_that_has_ended_is_not_missed_while_the_first_uploads():
    ended = computes(1, phase=Phase.END, silent_s=300.0)
    assert hang([computes(0, phase=Phase.CHECKPOINT), ended], HANG_S) == ""


def test_rank_that_did_not_come_to_a_collective_is_named_with_the_line_it_is_at():
    words = hang([waits(0), computes(1)], HANG_S)
    assert words == (
        "rank 1 of 2 did not come to gloo:all_reduce for 30 s after step 47, and is at "
        "mine.py:3 in nap; rank 0 of 2 waits in gloo:all_reduce"
    )


def test_rank_that_waits_in_an_earlier_call_of_its_own_is_the_one_that_is_late():
    earlier = waits(2, Collective("gloo:broadcast", "gloo 0", 8), world=3)
    words = hang([waits(0, world=3), waits(1, world=3), earlier], HANG_S)
    assert words.startswith("rank 2 of 3 did not come to gloo:all_reduce")


def test_rank_of_another_group_is_not_missed():
    outside = Seen(Beat(2, 3, 47, Phase.STEP, {"gloo 1": 3}, (), "x"), **LONG)
    words = hang([waits(0, world=3), computes(1, world=3), outside], HANG_S)
    assert words.startswith("rank 1 of 3 did not come")


def test_peer_to_peer_call_accuses_who_waits_in_nothing():
    receives = waits(0, Collective("recv"))
    words = hang([receives, computes(1)], HANG_S)
    assert words.startswith("rank 1 of 2 did not come to recv")


def test_ranks_that_all_wait_accuse_nobody():
    words = hang([waits(0), waits(1)], HANG_S)
    assert words.startswith("nothing moved for 30 s after step 47; rank 0 of 2 waits in")


def test_nobody_is_accused_while_the_first_rank_is_at_what_others_wait_for():
    for phase in set(Phase) - {Phase.STEP}:
        assert hang([computes(0, phase=phase), waits(1)], HANG_S) == ""


def test_rank_that_came_to_no_collective_while_all_others_are_elsewhere_is_named_by_its_node():
    words = hang([computes(1)], HANG_S)
    assert words == (
        "rank 1 of 2 came to no collective for 30 s after step 47, and is at mine.py:3 in nap"
    )
    assert hang([computes(0, world=1)], HANG_S) == ""
    assert hang([computes(0), computes(1)], HANG_S) == ""


def test_ranks_that_wait_for_another_node_blame_nobody_unless_the_first_is_among_them():
    assert hang([waits(2, world=4), waits(3, world=4)], HANG_S) == ""
    words = hang([waits(0, world=4), waits(1, world=4)], HANG_S)
    assert words.startswith("nothing moved for 30 s after step 47; rank 0 of 4 waits in")


MOVING = st.floats(0.0, 29.9)
TIMES = st.fixed_dictionaries({"silent_s": MOVING, "still_s": st.floats(0.0, 1e6)})
ANY = st.builds(
    lambda make, phase, times: make(0, phase=phase, **times),
    st.sampled_from([waits, computes]),
    st.sampled_from(Phase),
    TIMES,
)


def ranked(seen):
    return [
        replace(it, beat=replace(it.beat, rank=rank, world=len(seen)))
        for rank, it in enumerate(seen)
    ]


@given(st.lists(ANY, max_size=5), ANY, MOVING, st.data())
def test_island_of_which_one_moves_is_left_alone(others, mover, still_s, data):
    seen = [*others, replace(mover, still_s=still_s)]
    assert hang(ranked(data.draw(st.permutations(seen))), HANG_S) == ""


@given(st.lists(ANY, min_size=1, max_size=5), st.integers(0, 4))
def test_frozen_rank_alone_is_named(others, which):
    seen = ranked(others)
    number = which % len(seen)
    beat = seen[number].beat
    seen[number] = replace(seen[number], silent_s=HANG_S)
    words = hang(seen, HANG_S)
    assume(beat.phase is not Phase.END)  # whoever has ended is silent for good
    assert words.startswith(f"rank {number} of {len(seen)} gave no sign of life")


@given(st.integers(2, 5), st.integers(0, 4), st.integers(0, 8))
def test_only_rank_that_is_behind_is_named(world, which, come_to):
    seen = [waits(rank, world=world) for rank in range(world)]
    seen[which % world] = computes(which % world, come_to, world=world)
    assert hang(seen, HANG_S).startswith(f"rank {which % world} of {world} did not come")
