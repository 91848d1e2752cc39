"""Rows find a server that answers them, whatever befalls the others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
import torch

from atoll.errors import BadInput, Unreachable
from atoll.wire.v1 import experts_pb2 as wire
from serving.engine.alone import row_by_row
from serving.expert.servicer import ExpertsServicer
from serving.remote.tensors import encoded
from tests.proxy import Proxy
from tests.serving.conftest import SHAPE
from tests.serving.remote.conftest import until

ROWS = 5


@pytest.fixture
def rows():
    draw = torch.Generator().manual_seed(0)
    x_t = torch.randn(ROWS, *SHAPE, generator=draw)
    return x_t, torch.rand(ROWS, generator=draw), torch.arange(ROWS) % 3


def all_are_open(gateway, num):
    """Wait until so many servers are there to be asked."""
    until(lambda: sum(each.is_open for each in gateway.pool.replicas()) == num)


def expected(network, rows):
    with torch.inference_mode():
        return row_by_row(network)(*rows)


def test_remote_expert_is_a_velocity_field_that_says_the_same_to_the_bit(
    serve, gateway, networks, rows
):
    experts = gateway([serve([0, 2]).address, serve([1]).address]).ready()
    for number, network in enumerate(networks):
        assert torch.equal(experts.resident[number](*rows), expected(network, rows))


@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_shorter_numbers_on_the_wire_cost_their_rounding_and_no_more(  # noqa: PLR0917
    serve, gateway, networks, rows, dtype, most
):
    experts = gateway([serve().address], dtype=dtype).ready()
    said, true = experts.resident[1](*rows), expected(networks[1], rows)
    assert said.dtype == torch.float32
    assert 0 < (said - true).norm() / true.norm() < most


def held(go_on):
    """Networks that say nothing before they may."""

    def around(network):
        def field(*its):
            assert go_on.wait(30)
            return network(*its)

        return field

    return around


def test_servers_of_an_expert_share_its_rows(serve, gateway, rows):
    go_on = threading.Event()
    it = gateway([serve(field=held(go_on)).address for _ in range(2)])
    field = it.ready().resident[0]
    all_are_open(it, 2)
    answers = [field.begin(*rows, lambda: None) for _ in range(8)]
    until(lambda: [each.num_rows for each in it.pool.replicas()] == [4 * ROWS, 4 * ROWS])
    go_on.set()
    assert all(len(answer.result()) == ROWS for answer in answers)


class Liar(ExpertsServicer):
    """Answers at once, and never as an expert would."""

    lie = staticmethod(lambda request: wire.EvaluateResponse())

    def Evaluate(self, requests, context):  # noqa: N802
        for request in requests:
            answer = type(self).lie(request)
            if answer is not None:
                answer.number = request.number
                yield answer


def tensor(make):
    """A lie about the velocity."""
    return lambda request: wire.EvaluateResponse(
        velocity=encoded(make(torch.zeros(tuple(request.x_t.shape))))
    )


LIES = {
    "nothing at all": lambda request: wire.EvaluateResponse(),
    "not a number": tensor(lambda zero: zero / 0),
    "another shape": tensor(lambda zero: zero[:, :, 1:]),
    "fewer rows": tensor(lambda zero: zero[1:]),
    "another type": tensor(lambda zero: zero.half()),
    "bytes cut short": lambda request: wire.EvaluateResponse(
        velocity=wire.Tensor(type=1, shape=request.x_t.shape, data=b"1234")
    ),
    "a refusal nobody knows": lambda request: wire.EvaluateResponse(refusal=99),
    "an error": lambda request: wire.EvaluateResponse(refusal=wire.REFUSAL_FAILED, reason="so"),
    "that it leaves": lambda request: wire.EvaluateResponse(refusal=wire.REFUSAL_LEAVING),
    "that it is not here": lambda request: wire.EvaluateResponse(refusal=wire.REFUSAL_NOT_HERE),
    "no answer": lambda request: None,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_server_that_answers_otherwise_than_an_expert_is_passed_over(
    serve, gateway, networks, rows, lie
):
    liar = type("Liar", (Liar,), {"lie": staticmethod(lie)})
    lying, honest = serve(servicer=liar), serve()
    it = gateway([lying.address, honest.address])
    all_are_open(it, 2)
    experts = it.ready()
    for _ in range(4):
        assert torch.equal(experts.resident[0](*rows), expected(networks[0], rows))
    assert honest.evaluator.speed(0) > 0


def test_rows_that_no_expert_can_take_are_refused_and_the_server_is_asked_again(
    serve, gateway, networks, rows
):
    experts = gateway([serve().address]).ready()
    x_t, t, cond = rows
    with pytest.raises(BadInput, match="send rows of 1x4x4"):
        experts.resident[0](x_t[:, :, 1:], t, cond)
    with pytest.raises(BadInput, match="class 7 does not exist"):
        experts.resident[0](x_t, t, cond + 5)
    with pytest.raises(BadInput, match=r"send a time in \[0, 1\]"):
        experts.resident[0](x_t, t + 1, cond)
    assert torch.equal(experts.resident[0](*rows), expected(networks[0], rows))


def test_server_of_other_checkpoints_is_not_asked(serve, gateway, rows):
    old = serve(named=lambda k: f"old-{k}")
    it = gateway([old.address], deadline_s=5.0)
    until(lambda: any(each.is_open for each in it.pool.replicas()))
    experts = it.experts()
    assert not experts.resident
    field = gateway([old.address, serve().address]).ready().resident[0]
    field(*rows)
    assert old.evaluator.speed(0) == 0


def test_server_without_room_is_asked_again_once_it_has_some(serve, gateway, networks, rows):
    go_on = threading.Event()
    server = serve([0], field=held(go_on), queue_rows=ROWS, batch_rows=ROWS)
    experts = gateway([server.address]).ready(1)
    field = experts.resident[0]
    answers = [field.begin(*rows, lambda: None) for _ in range(4)]
    time.sleep(0.3)  # for some of them to be refused
    assert not any(answer.done() for answer in answers)
    go_on.set()
    for answer in answers:
        assert torch.equal(answer.result(), expected(networks[0], rows))


def test_rows_under_way_to_a_server_that_dies_are_answered_by_another(
    serve, gateway, networks, rows
):
    servers = [serve() for _ in range(5)]
    it = gateway([each.address for each in servers])
    experts = it.ready()
    all_are_open(it, 5)
    field, answers = experts.resident[0], []
    for number in range(40):
        answers.append(field.begin(*rows, lambda: None))
        if number in {10, 15, 20, 25}:  # four of five
            servers.pop().kill()
    for answer in answers:
        assert torch.equal(answer.result(), expected(networks[0], rows))


@pytest.mark.parametrize("what", ["cut", "freeze"])
def test_rows_under_way_on_a_wire_that_fails_are_answered_and_it_is_used_again(
    serve, gateway, networks, rows, what
):
    first, second = serve(), serve()
    with Proxy(first.port) as wire_, Proxy(second.port) as other:
        it = gateway([wire_.address, other.address])
        experts = it.ready()
        all_are_open(it, 2)
        field = experts.resident[0]
        getattr(wire_, what)()
        for answer in [field.begin(*rows, lambda: None) for _ in range(6)]:
            assert torch.equal(answer.result(), expected(networks[0], rows))
        all_are_open(it, 1)
        wire_.mend()
        all_are_open(it, 2)
        other.cut()
        assert torch.equal(experts.resident[0](*rows), expected(networks[0], rows))


def test_expert_is_found_once_somebody_serves_it(serve, gateway, rows):
    addresses = []
    it = gateway(addresses, deadline_s=2.0)
    experts = it.experts()
    assert not experts.lost  # a server may be about to come
    addresses.append(serve().address)
    until(lambda: len(experts.resident) == 3)
    assert not experts.lost
    experts.resident[0](*rows)


def test_gateway_that_ends_leaves_no_request_waiting(serve, gateway, rows):
    it = gateway([serve([0]).address])
    field = it.ready(1).resident[0]
    answers = [field.begin(*rows, lambda: None) for _ in range(8)]
    it.pool.close()
    for answer in answers:
        with contextlib.suppress(Unreachable):
            assert len(answer.result(10)) == ROWS


def test_servers_that_come_and_cannot_be_asked_are_told_once(serve, gateway, caplog):
    caplog.set_level("INFO", logger="serving.remote.pool")
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    there = serve()
    it = gateway([nobody, there.address])
    it.ready()
    until(lambda: sum(each.failures for each in it.pool.replicas()) > 2)
    told = [(each.message, each.fields["address"]) for each in caplog.records]
    assert sorted(told) == [
        ("an expert server cannot be asked", nobody),
        ("an expert server is there", there.address),
    ]
    (why,) = [each.fields["why"] for each in caplog.records if "why" in each.fields]
    assert "refused" in why.lower()
