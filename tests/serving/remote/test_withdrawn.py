"""Servers evaluate nothing that nobody waits for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

import grpc
import pytest
import torch

from atoll.errors import Unreachable
from atoll.wire.v1 import experts_pb2 as wire
from atoll.wire.v1 import experts_pb2_grpc as rpc
from serving.expert.servicer import ExpertsServicer
from serving.remote.rows import RowsAsked
from tests.proxy import Proxy
from tests.serving.conftest import SHAPE, Told, request_of
from tests.serving.remote.conftest import digest, until
from tests.serving.remote.test_stretches import some


class Gated:
    """A network that answers as often as it is let, and counts what it was asked."""

    def __init__(self, network):
        self.network, self.go_on, self.num_rows = network, threading.Semaphore(0), 0

    def __call__(self, x_t, t, cond):
        self.num_rows += len(x_t)
        assert self.go_on.acquire(timeout=30)
        return self.network(x_t, t, cond)

    def open(self):
        for _ in range(10_000):
            self.go_on.release()


@pytest.fixture
def gated(serve):
    """A server of expert 0, and what stands before it."""
    made = []

    def field(network):
        made.append(Gated(network))
        return made[-1]

    server = serve([0], field=field)
    yield server, made[0]
    made[0].open()


def echoing(_):
    """A network that takes no time."""
    return lambda x_t, *_: x_t


def rows(num=1):
    x_t, t = torch.randn(num, *SHAPE), torch.rand(num)
    cond = torch.zeros(num, dtype=torch.int64)
    return RowsAsked(0, digest(0), x_t, t, cond, row_by_row=False, dtype=torch.float32)


def test_rows_that_are_withdrawn_are_not_evaluated_and_the_server_is_not_blamed(gated, gateway):
    server, network = gated
    pool = gateway([server.address], row_by_row=False).ready(1).resident[0].pool
    first = pool.begin(rows(), lambda: None)
    until(lambda: network.num_rows == 1)
    unwanted, wanted = (pool.begin(rows(num), lambda: None) for num in (3, 5))
    until(lambda: server.evaluator.num_waiting == 9)
    (replica,) = pool.replicas()
    usual_s = replica.usual_s
    unwanted.cancel()
    with pytest.raises(CancelledError):
        unwanted.result()
    until(lambda: replica.num_rows == 6)
    # The word that nobody waits has gone the same way as these rows, before them.
    last = pool.begin(rows(), lambda: None)
    until(lambda: server.evaluator.num_waiting == 10)
    network.open()
    for each in (first, wanted, last):
        assert each.result(30).shape == (len(each.result()), *SHAPE)
    assert network.num_rows == 1 + 5 + 1
    assert replica.is_open
    assert not replica.usual_s < usual_s  # nan before, or as usual


def test_stretch_that_is_withdrawn_goes_no_further(gated, gateway):
    server, network = gated
    expert = gateway([server.address], row_by_row=False).ready(1).resident[0]
    stretch = expert.begin_stretch(some(evaluations=4), lambda: None)
    until(lambda: network.num_rows == 3)
    stretch.cancel()
    (replica,) = expert.pool.replicas()
    until(lambda: replica.num_rows == 0)
    last = expert.pool.begin(rows(), lambda: None)
    until(lambda: server.evaluator.num_waiting == 4)
    network.open()
    last.result(30)
    assert network.num_rows == 3 + 1


def test_rows_that_another_server_was_asked_about_as_well_are_evaluated_once(gated, serve, gateway):
    slow, network = gated
    quick, addresses = serve([0]), [slow.address]
    it = gateway(addresses, row_by_row=False)
    it.ready(1)
    held = [it.pool.begin(rows(), lambda: None)]
    until(lambda: network.num_rows == 1)
    held += [it.pool.begin(rows(), lambda: None) for _ in range(4)]
    until(lambda: slow.evaluator.num_waiting == 5)
    addresses.append(quick.address)
    for each in held:
        each.result(30)  # the quick one was asked as well
    until(lambda: not any(each.is_wanted() for each in list(slow.evaluator._waiting)))
    network.open()
    until(lambda: slow.evaluator.num_waiting == 0)
    assert network.num_rows == 1  # that it had begun


def test_rows_that_are_withdrawn_as_they_are_sent_harm_nobody_on_the_same_stream(serve, gateway):
    streams, taken = [], []

    class Counting(ExpertsServicer):
        def Evaluate(self, requests, context):  # noqa: N802
            streams.append(context)
            return super().Evaluate(requests, context)

        def _take(self, request, caller):
            taken.append(request.x_t.shape[0])
            super()._take(request, caller)

    server = serve([0], Counting, echoing, batch_rows=4096, queue_rows=400_000)
    with Proxy(server.port) as wire_:
        pool = gateway([wire_.address], row_by_row=False).ready(1).resident[0].pool
        pool.begin(rows(), lambda: None).result(30)
        wire_.freeze()
        many = [pool.begin(rows(20_000), lambda: None) for _ in range(12)]  # 1.4 MB each
        num_sent = len(many) - when_full(pool)
        for each in many[:-1]:
            each.cancel()
        until(lambda: pool.replicas()[0].num_rows == 20_000)
        wire_.mend()
        assert many[-1].result(60).shape == (20_000, *SHAPE)
        pool.begin(rows(), lambda: None).result(30)
        assert len(streams) == 1
        # One was on its way; nobody sends those who waited for the wire.
        assert taken == [1, *[20_000] * (num_sent + 1), 20_000, 1]
        assert pool.replicas()[0].is_open


def when_full(pool):
    """Wait until a write waits for the wire, and others behind it; how many they are."""
    (link,) = (each.link for each in pool._servers.values())
    seen = [-1, -2]
    while not (seen[-1] == seen[-2] > 1):
        time.sleep(0.3)
        seen.append(len(link._stream._works) if link._stream else 0)
    return seen[-1]


def test_rows_that_are_sent_as_a_server_is_dropped_are_answered_by_another(serve, gateway):
    dropped, other = (
        serve([0], field=echoing, batch_rows=4096, queue_rows=400_000) for _ in range(2)
    )
    with Proxy(dropped.port) as wire_:
        addresses = [wire_.address]
        pool = gateway(addresses, row_by_row=False).ready(1).resident[0].pool
        wire_.freeze()
        many = [pool.begin(rows(20_000), lambda: None) for _ in range(12)]
        when_full(pool)
        addresses.append(other.address)
        until(lambda: len(pool.replicas()) == 2 and pool.replicas()[1].is_open)
        addresses.remove(wire_.address)
        for each in many:
            assert each.result(60).shape == (20_000, *SHAPE)


def test_request_that_is_cancelled_is_withdrawn_from_the_server(gated, gateway, make_engine):
    server, network = gated
    # The gate may select any of three; all are the one there is.
    experts = gateway([server.address], row_by_row=False).ready(1)
    engine = make_engine(experts=experts, gate=lambda x, *_: torch.ones(len(x), 1))
    engine.submit(request_of("unwanted", [1, 2], steps=9, strategy="full"), Told())
    engine.tick()
    until(lambda: network.num_rows == 2)
    wanted = experts.resident[0].pool.begin(rows(7), lambda: None)
    engine.cancel("unwanted")
    engine.tick()
    (replica,) = experts.resident[0].pool.replicas()
    until(lambda: replica.num_rows == 7)
    network.open()
    wanted.result(30)
    assert not engine.tick()
    assert network.num_rows == 2 + 7


def test_stream_answers_each_request_once_however_many_are_withdrawn(serve):
    server = serve([0], queue_rows=10_000)
    num = 700  # more than may be open at once

    def asked():
        for number in range(1, num + 1):
            request = rows().request(30.0)
            request.number = number
            yield request
            yield wire.EvaluateRequest(number=number, withdrawn=True)
            yield wire.EvaluateRequest(number=10 * num + number, withdrawn=True)  # of no request

    with grpc.insecure_channel(server.address) as channel:
        answers = list(rpc.ExpertsStub(channel).Evaluate(asked(), timeout=60))
    assert sorted(each.number for each in answers) == list(range(1, num + 1))
    kinds = {each.refusal for each in answers}
    assert kinds <= {wire.REFUSAL_UNSPECIFIED, wire.REFUSAL_WITHDRAWN}
    assert wire.REFUSAL_WITHDRAWN in kinds


def test_stream_remembers_no_request_that_was_answered_or_refused(serve):
    callers = []

    class Knowing(ExpertsServicer):
        def _take(self, request, caller):
            callers.append(caller)
            super()._take(request, caller)

    server = serve([0], servicer=Knowing, queue_rows=4)

    def asked():
        for number, num in enumerate([1, 5, 1, 9], start=1):  # some of them have no room
            request = rows(num).request(30.0)
            request.number = number
            if number == 3:
                request.t.data = request.t.data[:-1]  # nor can these be read
            yield request

    with grpc.insecure_channel(server.address) as channel:
        answers = list(rpc.ExpertsStub(channel).Evaluate(asked(), timeout=60))
    assert {each.number: each.refusal for each in answers} == {
        1: wire.REFUSAL_UNSPECIFIED,
        2: wire.REFUSAL_BUSY,
        3: wire.REFUSAL_UNUSABLE,
        4: wire.REFUSAL_BUSY,
    }
    assert not callers[0].waits_for


def test_answer_is_kept_no_longer_than_until_it_is_sent(serve, gateway):
    made = []
    server = serve([0], servicer=lambda *its: made.append(ExpertsServicer(*its)) or made[0])
    expert = gateway([server.address], row_by_row=False).ready(1).resident[0]
    whole = made[0]._room.free_bytes
    assert len(expert.begin_stretch(some(evaluations=4), lambda: None).result(30)) == 4
    until(lambda: made[0]._room.free_bytes == whole)


def test_stretch_that_waits_as_its_server_is_told_to_leave_is_begun(serve, gateway):
    made, is_leaving = [], []
    server = serve(
        [0],
        field=lambda network: made.append(Gated(network)) or made[0],
        servicer=lambda run, experts, evaluator, clock, _, kept: ExpertsServicer(
            run, experts, evaluator, clock, lambda: bool(is_leaving), kept
        ),
    )
    expert = gateway([server.address], row_by_row=False).ready(1).resident[0]
    first = expert.pool.begin(rows(), lambda: None)
    until(lambda: made[0].num_rows == 1)
    stretch = expert.begin_stretch(some(evaluations=4), lambda: None)
    until(lambda: server.evaluator.num_waiting == 4)
    is_leaving.append(True)
    made[0].open()
    first.result(30)
    assert len(stretch.result(30)) == 1  # what was accepted, and no more


def test_gateway_whose_asking_breaks_down_says_that_nobody_answers(serve, gateway, monkeypatch):
    made = []
    server = serve([0], field=lambda network: made.append(Gated(network)) or made[0])
    pool = gateway([server.address], row_by_row=False).ready(1).resident[0].pool
    waiting = pool.begin(rows(), lambda: None)
    until(lambda: made[0].num_rows == 1)

    def broken():
        raise RuntimeError("it breaks")

    monkeypatch.setattr(pool, "_addresses", broken)
    with pytest.raises(Unreachable, match="this gateway ends"):
        waiting.result(30)
    made[0].open()
