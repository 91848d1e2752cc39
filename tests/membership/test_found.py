"""What is believed of all that stands in a DHT under one key."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from atoll import authority
from membership.found import Found
from membership.record import Kind, Record
from membership.signing import sealed

NOW = 2.0e9
CA = authority.new_authority(NOW, 1000)
SERVER = authority.for_hosts(CA, ["192.0.2.7"], NOW, 1000)
STRANGER = authority.for_hosts(authority.new_authority(NOW, 1000), ["192.0.2.9"], NOW, 1000)

A = Record(Kind.ORCHESTRATOR, "run", "process 7 on a", "192.0.2.7:7000", 3, NOW + 20)
B = Record(Kind.ORCHESTRATOR, "run", "process 9 on b", "192.0.2.8:7000", 8, NOW + 10)


def among(*held: bytes, now: float = NOW) -> Found:
    return Found.among(held, CA.certificate, "run", Kind.ORCHESTRATOR, now)


def genuine(record: Record) -> bytes:
    return sealed(record, SERVER)


def test_found_leaders_are_sorted_by_who_led_last_not_by_whose_record_lasts_longest() -> None:
    assert among(genuine(A), genuine(B)) == Found((B, A), 0)
    again = replace(A, name="process 8 on a", until=NOW + 30)
    assert among(genuine(A), genuine(again)).records == (again, A)


def test_found_records_that_are_forged_ended_or_out_of_place_hide_no_good_one() -> None:
    ended = replace(B, until=NOW - 1)
    elsewhere = replace(B, run="other", number=100)
    forged = sealed(replace(B, number=100), STRANGER)
    held = [forged, b"garbage", genuine(ended), genuine(elsewhere), genuine(A)]
    assert among(*held) == Found((A,), 4)
    assert among(*held, now=NOW + 21) == Found((), 5)


def test_found_record_of_who_left_since_is_not_found_though_the_former_one_is_replayed() -> None:
    left = replace(A, left=True, until=NOW + 40)
    assert among(genuine(A), genuine(left)) == Found((), 0, frozenset({A.name}))
    assert among(genuine(left), genuine(A)) == Found((), 0, frozenset({A.name}))
    back = replace(A, until=NOW + 60)
    assert among(genuine(left), genuine(back), genuine(A)) == Found((back,), 0)


@given(st.lists(st.binary(max_size=200)), st.randoms(use_true_random=False))
def test_found_good_records_are_found_in_any_heap_of_garbage(garbage, random) -> None:
    held = [*garbage, genuine(A), genuine(B)]
    random.shuffle(held)
    assert among(*held) == Found((B, A), len(garbage))
