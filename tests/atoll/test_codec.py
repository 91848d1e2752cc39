"""Values survive the wire unchanged, whatever they hold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll import codec, types, view_codec, views
from atoll.errors import Refused
from atoll.wire.v1 import control_pb2 as wire

# Names are lines; whatever else they hold survives.
text = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), min_size=1, max_size=20)
count = st.integers(0, 2**31 - 1)
real = st.floats(allow_nan=False)
specs = st.builds(types.JobSpec, text, st.sampled_from(types.Role), count, text, count, text)
refs = st.builds(types.CheckpointRef, text, text, count, count)
submissions = st.builds(types.Submission, specs, count, st.none() | refs)
leases = st.builds(types.Lease, text, text, count, real)
told = st.none() | real
vitals = st.builds(types.Vitals, told, told, st.none() | count, told, told, told)
progress = st.builds(types.Progress, count, real, real, count, vitals)
assignments = st.builds(types.Assignment, leases, specs, st.none() | refs)
waits = st.builds(types.Wait, real, st.booleans())
events = st.builds(types.Event, text, text, text, text, count, count, real)
jobs = st.builds(
    views.JobView,
    specs,
    st.sampled_from(types.JobState),
    count,
    text,
    count,
    text,
    progress,
    st.none() | refs,
)
islands = st.builds(views.IslandView, text, text, text, real)
budgets = st.builds(views.BudgetView, *[st.none() | real] * 3, text | st.just(""))
servers = st.builds(views.ServerView, text, text, st.lists(count).map(tuple), real, real)
fleets = st.builds(
    views.FleetView,
    st.lists(jobs, max_size=3).map(tuple),
    st.lists(islands, max_size=3).map(tuple),
    st.booleans(),
    budget=budgets,
    servers=st.lists(servers, max_size=3).map(tuple),
)


incidents = st.lists(
    st.builds(types.Incident, count, st.sampled_from(types.IncidentKind), text), max_size=16
)


@given(st.tuples(specs, submissions, refs, leases, progress, assignments | waits, events, fleets))
def test_every_value_survives_the_wire(values: tuple[Any, ...]) -> None:
    coders = (
        (codec.encode_spec, codec.decode_spec),
        (codec.encode_submission, codec.decode_submission),
        (codec.encode_checkpoint, codec.decode_checkpoint),
        (codec.encode_lease, codec.decode_lease),
        (codec.encode_progress, codec.decode_progress),
        (codec.encode_acquired, codec.decode_acquired),
        (codec.encode_event, codec.decode_event),
        (view_codec.encode_fleet, view_codec.decode_fleet),
    )
    for value, (encode, decode) in zip(values, coders, strict=True):
        sent = encode(value)
        received = type(sent).FromString(sent.SerializeToString())
        assert decode(received) == value


@pytest.mark.parametrize("name", ["x" * 201, "two\nlines", "nul\0"])
def test_decode_of_a_name_that_no_database_could_hold_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="the message's job is no line of at most 200 characters"):
        codec.decode_lease(wire.Lease(job=name, island="i"))


def test_decode_of_a_number_that_no_database_could_hold_is_refused() -> None:
    with pytest.raises(Refused, match="the message's epoch is 18446744073709551615"):
        codec.decode_lease(wire.Lease(job="j", island="i", epoch=2**64 - 1))


def test_decode_of_incomplete_message_is_refused() -> None:
    with pytest.raises(Refused, match="no job"):
        codec.decode_lease(wire.Lease(island="i"))
    with pytest.raises(Refused, match="Role number 0"):
        codec.decode_spec(wire.JobSpec(name="n", run_uri="u"))


@given(incidents)
def test_incidents_survive_the_wire(told: list[types.Incident]) -> None:
    assert codec.decode_incidents([codec.encode_incident(each) for each in told]) == told


def test_decode_of_more_incidents_than_an_island_tells_at_once_is_refused() -> None:
    with pytest.raises(Refused, match="number of incidents is 17, and 16 is the most"):
        codec.decode_incidents([wire.Incident(number=1)] * 17)


@pytest.mark.parametrize(
    "kind", [types.Role, types.JobState, types.Directive, types.Ending, types.IncidentKind]
)
def test_every_enum_value_has_a_wire_number(kind: type[types.Role]) -> None:
    numbers = {codec.encode_enum(value) for value in kind}
    assert len(numbers) == len(kind)
    assert 0 not in numbers
