"""Large conditions cross the wire once, and answers are what they would be without that."""

from __future__ import annotations

import contextlib

import grpc
import pytest
import torch

from atoll.errors import BadInput
from atoll.expert_server_section import ExpertServerSection
from atoll.wire.v1 import experts_pb2 as wire
from atoll.wire.v1 import experts_pb2_grpc as rpc
from experts.condition import Conditioning
from serving.expert.conditions import Conditions, Untold
from serving.expert.evaluator import Evaluator
from serving.expert.served import ServedExpert
from serving.expert.server import ExpertServer
from serving.expert.servicer import ExpertsServicer
from serving.remote.conditions import Told, is_large, key_of
from serving.remote.rows import RowsAsked, StretchAsked
from serving.remote.tensors import encoded
from tests.fakes import ManualClock
from tests.serving.conftest import CPU, SHAPE
from tests.serving.remote.conftest import CLOCK, digest, until
from tests.serving.remote.test_stretches import some

TEXT = Conditioning("text", 64, "some encoder", 8)  # 2 KiB each


def network(x_t, t, cond):
    return x_t * cond.flatten(1).sum(1)[:, None, None, None] + t[:, None, None, None]


class Noting(ExpertsServicer):
    """Knows how many conditions it was told, and how many came with requests."""

    def __init__(self, *its):
        super().__init__(*its)
        self.told, self.sent, self.by_key = [], [], []

    def _keep(self, conditions):
        self.told.append(conditions.shape[0] if conditions.shape else 0)
        super()._keep(conditions)

    def _take(self, request, caller):
        self.sent.append(request.cond.shape[0] if request.HasField("cond") else 0)
        self.by_key.append(len(request.cond_keys))
        super()._take(request, caller)


@pytest.fixture
def serve_text():
    """Starts a server of an expert that is told captions."""
    with contextlib.ExitStack() as stack:

        def start(listen="127.0.0.1:0", most_bytes=2**20, conditioning=TEXT):
            evaluator = Evaluator(64, 256, CPU, CLOCK)
            expert = ServedExpert(0, digest(0), network, conditioning, (SHAPE,))
            kept = Conditions(most_bytes)
            servicer = Noting("a run", [expert], evaluator, CLOCK, lambda: False, kept)
            server = ExpertServer(servicer, ExpertServerSection(listen=listen))
            evaluator.start()
            stack.callback(evaluator.stop)
            address = server.start()
            stack.callback(server.stop, 0.0)
            return address, servicer, server

        yield start


def rows(captions, row=TEXT.row):
    """About an image for each of these captions."""
    cond = torch.stack([torch.randn(row, generator=seeded(number)) for number in captions])
    x_t, t = torch.randn(len(cond), *SHAPE), torch.rand(len(cond))
    return RowsAsked(0, digest(0), x_t, t, cond, row_by_row=False, dtype=torch.float32)


def seeded(number):
    return torch.Generator().manual_seed(number)


def said(pool, asked):
    velocity = pool.begin(asked, lambda: None).result(60)
    torch.testing.assert_close(
        velocity, network(asked.x_t, asked.t, asked.cond), rtol=1e-5, atol=1e-4
    )
    return velocity


def pool_of(gateway, address):
    return gateway([address], row_by_row=False).ready(1).resident[0].pool


def test_conditions_are_told_once_to_each_server(serve_text, gateway):
    address, servicer, _ = serve_text()
    pool = pool_of(gateway, address)
    for _ in range(3):
        said(pool, rows([1, 2, 1]))
    said(pool, rows([2, 3]))
    assert servicer.told == [2, 1]
    assert servicer.sent == [0] * 4
    assert servicer.by_key == [3, 3, 3, 2]


def test_stretches_go_by_what_was_told(serve_text, gateway):
    address, servicer, _ = serve_text()
    pool = pool_of(gateway, address)
    asked = rows([1, 2])
    said(pool, asked)
    stretch = StretchAsked(0, digest(0), some(cond=asked.cond), False, torch.float32)
    assert len(pool.begin(stretch, lambda: None).result(30)) == 3
    assert (servicer.told, servicer.sent) == ([2], [0, 0])


def test_server_that_was_started_anew_is_told_again_and_is_not_blamed(serve_text, gateway):
    address, _, server = serve_text()
    pool = pool_of(gateway, address)
    said(pool, rows([1, 2]))
    server.stop(0.0)
    _, servicer, _ = serve_text(listen=address)
    (replica,) = pool.replicas()
    until(lambda: _said_again(pool))
    assert servicer.by_key[:2] == [2, 2]  # which are not known there, and are told again
    assert servicer.told == [2]
    said(pool, rows([1, 2]))
    assert not any(servicer.sent)
    assert replica.is_open


def _said_again(pool):
    with contextlib.suppress(Exception):  # while the server is gone
        return said(pool, rows([1, 2])) is not None
    return False


@pytest.mark.parametrize(("room", "sent"), [(0, [4, 1, 3, 2]), (2048, [4, 0, 3, 2])])
def test_server_without_room_for_conditions_is_sent_all_of_them(serve_text, gateway, room, sent):
    address, servicer, _ = serve_text(most_bytes=room)
    pool = pool_of(gateway, address)
    for captions in ([1, 2, 3, 4], [1], [2, 3, 4], [5, 1]):
        said(pool, rows(captions))
    assert servicer.sent == sent


def test_room_that_others_take_is_not_counted_on(serve_text, gateway):
    address, servicer, _ = serve_text(most_bytes=2 * 2048)
    pool, other = pool_of(gateway, address), pool_of(gateway, address)
    said(pool, rows([1, 2]))
    said(other, rows([3, 4]))
    said(pool, rows([1, 2]))
    assert servicer.by_key == [2, 2, 2, 2]
    assert servicer.told == [2, 2, 2]
    assert not any(servicer.sent)
    assert all(each.is_open for each in (*pool.replicas(), *other.replicas()))


@pytest.mark.parametrize(
    "cond",
    [
        torch.zeros(1, 0),
        torch.zeros(2_000_000, 0),
        torch.zeros(1, 8),
        torch.zeros(3, 8, 63),
        torch.tensor(1.0),
    ],
    ids=["of nothing", "many of nothing", "small", "of another shape", "no rows"],
)
def test_conditions_that_no_expert_is_told_take_no_memory(serve_text, cond):
    address, servicer, _ = serve_text()
    asked = rows([1]).request(30.0)
    asked.number = 1
    messages = [wire.EvaluateRequest(conditions=encoded(cond)), asked]
    with grpc.insecure_channel(address) as channel:
        (answer,) = rpc.ExpertsStub(channel).Evaluate(iter(messages), timeout=60)
    assert answer.refusal == wire.REFUSAL_UNSPECIFIED
    assert not servicer._conditions._rows


@pytest.mark.parametrize(
    ("num", "refusal"), [(5, wire.REFUSAL_UNUSABLE), (4000, wire.REFUSAL_BUSY)]
)
def test_keys_of_more_conditions_than_rows_or_room_are_refused_first(serve_text, num, refusal):
    address, servicer, _ = serve_text()
    cond = torch.randn(1, *TEXT.row)
    asked = rows([1]).bare(30.0)
    asked.number = 1
    asked.cond_keys.extend([key_of(cond[0])] * num)
    if refusal == wire.REFUSAL_BUSY:
        asked.x_t.CopyFrom(encoded(torch.zeros(num, *SHAPE)))
        asked.t.CopyFrom(encoded(torch.zeros(num)))
    laid_out = []
    servicer._conditions.of = laid_out.append
    messages = [wire.EvaluateRequest(conditions=encoded(cond)), asked]
    with grpc.insecure_channel(address) as channel:
        (answer,) = rpc.ExpertsStub(channel).Evaluate(iter(messages), timeout=60)
    assert answer.refusal == refusal
    assert not laid_out


def test_conditions_that_no_message_holds_are_told_in_several(serve_text, gateway):
    large = Conditioning("text", 1024, "some encoder", 512)  # 2 MiB each
    address, servicer, _ = serve_text(most_bytes=2**27, conditioning=large)
    pool = pool_of(gateway, address)
    said(pool, rows(range(40), large.row))
    assert servicer.told == [16, 16, 8]
    assert servicer.sent == [0]


def test_room_that_is_taken_at_once_again_is_done_without(serve_text, gateway, monkeypatch):
    address, servicer, _ = serve_text()
    pool = pool_of(gateway, address)
    keep = servicer._conditions.keep
    monkeypatch.setattr(servicer._conditions, "keep", lambda told: keep(told[:0]))
    for _ in range(2):
        said(pool, rows([1, 2]))
    assert servicer.by_key == [2, 2, 0, 0]
    assert servicer.sent == [0, 0, 2, 2]
    assert pool.replicas()[0].is_open


def test_conditions_that_are_not_kept_and_have_no_room_in_a_message_are_refused(
    serve_text, gateway
):
    large = Conditioning("text", 1024, "some encoder", 512)
    address, _, _ = serve_text(most_bytes=2**21, conditioning=large)
    pool = pool_of(gateway, address)
    with pytest.raises(BadInput, match=r"have 80 MiB, and a message has 64; raise expert_server\."):
        pool.begin(rows(range(40), large.row), lambda: None).result(60)
    said(pool, rows([1], large.row))
    assert pool.replicas()[0].is_open


def test_small_conditions_go_with_the_rows(serve_text, gateway):
    small = Conditioning("text", 8, "some encoder", 8)
    address, servicer, _ = serve_text(conditioning=small)
    pool = pool_of(gateway, address)
    for _ in range(2):
        said(pool, rows([1, 2], small.row))
    assert (servicer.told, servicer.sent) == ([], [2, 2])
    assert not is_large(None)
    assert not is_large(torch.zeros(0, 1000))


def test_caller_remembers_no_more_than_a_server_has_room_for_and_pauses_where_that_was_too_much():
    clock = ManualClock()
    told, (first, second, third) = Told(clock), torch.randn(3, 1, 8, 64)
    assert not told.is_worth(first)  # nobody has said that it would be kept
    told.room_bytes = 2 * first.nbytes
    assert told.is_worth(first)
    assert not told.is_worth(torch.zeros(3, 8, 64))
    num = [len(told.tell(each)[0]) for each in (first, second, first, third, first, second)]
    assert num == [1, 1, 0, 1, 0, 1]
    before = told.generation
    told.missed(before)
    told.missed(before)  # asked by what was forgotten since
    assert told.is_worth(first)
    assert len(told.tell(first)[0]) == 1
    told.missed(told.generation)  # although it has just been told
    assert not told.is_worth(first)
    clock.now += 11
    assert told.is_worth(first)


def test_conditions_are_known_by_type_shape_and_numbers():
    row = torch.arange(8.0)
    kinds = [row, row.reshape(2, 4), row.reshape(4, 2), row.half(), row.bfloat16(), row + 1]
    keys = {key_of(each) for each in kinds}
    assert len(keys) == len(kinds)
    assert key_of(row.clone()) == key_of(row)
    assert {len(key) for key in keys} == {32}


def test_conditions_not_asked_for_longest_make_room_first():
    kept, every = Conditions(3 * 32), torch.randn(4, 8)
    keys = [key_of(row) for row in every]
    kept.keep(every[:3])
    assert torch.equal(kept.of([keys[0], keys[2], keys[0]]), every[[0, 2, 0]])
    kept.keep(every[3:])
    with pytest.raises(Untold):
        kept.of([keys[1]])
    assert torch.equal(kept.of([keys[0], keys[2], keys[3]]), every[[0, 2, 3]])
    kept.keep(every[:1])
    assert kept._num_bytes == 3 * 32


def test_conditions_of_several_kinds_in_one_request_are_refused():
    kept = Conditions(2**20)
    one, other = torch.randn(1, 8), torch.randn(1, 2, 4)
    kept.keep(one)
    kept.keep(other)
    with pytest.raises(BadInput, match="of several shapes or types"):
        kept.of([key_of(one[0]), key_of(other[0])])


def test_rubbish_in_place_of_conditions_ends_no_stream(serve_text, gateway, monkeypatch):
    address, servicer, _ = serve_text()
    pool = pool_of(gateway, address)
    whole = Told.tell

    def cut(self, cond):
        before, keys = whole(self, cond)
        for message in before:
            message.conditions.data = message.conditions.data[:-1]
        return before, keys

    monkeypatch.setattr(Told, "tell", cut)
    said(pool, rows([1]))
    assert servicer.sent == [0, 0, 1]
    assert pool.replicas()[0].is_open
