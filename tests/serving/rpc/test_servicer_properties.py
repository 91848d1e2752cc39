"""Whatever is asked for over gRPC: images come, or a status that is documented."""

from __future__ import annotations

import math

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor as Field
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from atoll.wire.v1 import images_pb2 as wire

MANY = settings(
    max_examples=80,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
REFUSED = grpc.StatusCode.INVALID_ARGUMENT
BUSY = grpc.StatusCode.RESOURCE_EXHAUSTED
LATE = grpc.StatusCode.DEADLINE_EXCEEDED

# How a refusal names what it is about, where that is not the field's own name.
WORDS = {
    "num": ["n = "],
    "width": ["size"],
    "height": ["size"],
    "conditions": ["class"],
}
KNOWN = ["3", "9", "euler", "heun", "top-1", "top-2", "full", "nucleus-0.9", "ancestral"]


def integers(least, most):
    return st.integers(0, 5) | st.sampled_from([least, most]) | st.integers(least, most)


VALUES = {
    Field.TYPE_UINT32: integers(0, 2**32 - 1),
    Field.TYPE_UINT64: integers(0, 2**64 - 1),
    Field.TYPE_ENUM: integers(-(2**31), 2**31 - 1),
    Field.TYPE_DOUBLE: st.floats(0, 10) | st.sampled_from([1e-9, math.nan, math.inf]) | st.floats(),
    Field.TYPE_BOOL: st.booleans(),
    Field.TYPE_STRING: st.sampled_from(KNOWN) | st.text(),
}


def values_of(field):
    one = VALUES[field.type]
    return st.lists(one, max_size=4) if field.is_repeated else one


def messages(message):
    """Any that its description allows; a few fields are set at a time, so that some can be had."""
    fields = {field.name: values_of(field) for field in message.DESCRIPTOR.fields}
    names = st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=4)
    chosen = names.flatmap(lambda names: st.fixed_dictionaries({it: fields[it] for it in names}))
    return chosen.map(lambda given: message(**given))


def damaged(data):
    """Cut off somewhere, with something else behind."""
    return st.tuples(st.integers(0, len(data)), st.binary(max_size=8)).map(
        lambda cut: data[: cut[0]] + cut[1]
    )


@pytest.fixture
def served(serve):
    return serve(max_images=4, max_steps=8)


def outcome(call):
    """The status of a call, its words, and all that came."""
    came = []
    try:
        came.extend(answer.event for answer in call)
    except grpc.RpcError as error:
        return error.code(), error.details(), came
    return grpc.StatusCode.OK, "", came


def assert_drawn(came):
    accepted, *_, last = came
    assert last.ended.outcome == wire.OUTCOME_DONE, last.ended.reason
    assert sum(each.HasField("image") for each in came) == accepted.accepted.num


def test_request_that_can_be_written_ends_in_images_or_is_refused_by_a_field_of_its_own(served):
    seen = set()

    @MANY
    @example(wire.GenerateRequest(deadline_s=1e-6))
    @given(messages(wire.GenerateRequest))
    def check(request):
        status, words, came = outcome(served.stub.Generate(request))
        seen.add(status)
        fields = [field.name for field, _ in request.ListFields()]
        if status is REFUSED:
            named = [word for name in fields for word in WORDS.get(name, [name])]
            assert any(word in words for word in named), words
        elif status is LATE:
            assert request.HasField("deadline_s"), words
            assert came[-1].ended.outcome == wire.OUTCOME_FAILED
        else:
            assert status is grpc.StatusCode.OK, words
            assert_drawn(came)

    check()
    assert seen == {grpc.StatusCode.OK, REFUSED, LATE}
    assert_drawn(outcome(served.stub.Generate(wire.GenerateRequest(num=4)))[2])


def test_bytes_that_are_no_request_are_refused_and_a_request_afterwards_is_not(served):
    generate = served.channel.unary_stream(
        "/atoll.wire.v1.Images/Generate",
        response_deserializer=wire.GenerateResponse.FromString,
    )
    whole = wire.GenerateRequest(conditions=["3", "5"], num=2, seed=7, guidance=2, strategy="full")
    seen = set()

    @MANY
    @given(st.binary(max_size=64) | damaged(whole.SerializeToString()))
    def check(data):
        status, words, _ = outcome(generate(data))
        seen.add(status)
        assert status in {grpc.StatusCode.OK, REFUSED, LATE}, words

    check()
    assert REFUSED in seen
    assert outcome(generate(bytes(70_000)))[0] is BUSY
    assert_drawn(outcome(served.stub.Generate(whole))[2])


def test_name_of_a_job_that_can_be_written_is_found_or_is_not(served):
    @MANY
    @given(st.text(max_size=40), st.sampled_from(["Watch", "Cancel"]))
    def check(name, method):
        request = {"Watch": wire.WatchRequest, "Cancel": wire.CancelRequest}[method](job=name)
        call = getattr(served.stub, method)
        with pytest.raises(grpc.RpcError) as caught:
            list(call(request)) if method == "Watch" else call(request)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    check()
