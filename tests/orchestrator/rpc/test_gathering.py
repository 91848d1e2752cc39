"""The nodes of an island over real connections: what they tell and are told, and as whom."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest

from atoll import identity
from atoll.control import RUN_KEY, ControlClient
from atoll.errors import Forbidden
from atoll.gangs import Answer, Call, Gang, GangNode, Meeting, Seat, Trouble
from atoll.log_types import LogLines, LogPiece, LogPlace, LogsWanted
from atoll.types import Assignment, Ending, Outcome, Submission, Wait
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import control_pb2_grpc as rpc
from cluster.certified import Certified
from orchestrator.service import FleetService

POLICY = {"max_nodes": 2, "min_nodes": 2}
A, B = GangNode("a", "10.0.0.1"), GangNode("b", "10.0.0.2")


def call(node: GangNode, gang: Gang = Gang(), **said) -> Call:  # noqa: B008 - frozen
    return Call("island-1", node, gang, **said)


@pytest.fixture
def service(store, policy, clock):
    return FleetService(store, replace(policy, **POLICY), clock)


@pytest.fixture
def gang(client, service, spec):
    """Two nodes that are gathered, and a job for them."""
    client.submit([Submission(spec())])
    for node in (A, B):
        client.gather(call(node), 5)
    service.tick()
    return client.gather(call(A), 5).gang


def test_wire_carries_all_that_nodes_tell_and_are_told(client, gang, service):
    assert gang == Gang(1, (A, B), (), "new: a, b; a leads b")
    assert client.acquire("island-1", "r", Seat("b", 1)) == Wait(0.2, dismissed=False)
    assert client.fleet().islands[0].nodes == ("a", "b")
    given = client.acquire("island-1", "r", Seat("a", 1))
    assert isinstance(given, Assignment)
    meeting = Meeting(1, given.lease.epoch, 4000)
    client.gather(call(A, gang, meeting=meeting), 5)
    trouble = Trouble("b", given.lease.epoch, Outcome(Ending.FAILED, "killed by signal 9", "log"))
    told = client.gather(call(B, gang, leaving=True, trouble=trouble), 5)
    assert told == Answer(gang, given, meeting, (trouble,))
    service.tick()
    left = client.gather(call(B, gang, leaving=True), 5).gang
    assert left == Gang(2, (), ("a", "b"), "leaving: b; 1 of at least 2 nodes wait for others")


def test_wire_gang_of_a_former_orchestrator_is_taken_over(client, service):
    former = Gang(7, (B, A))
    assert client.gather(call(A, former), 5).gang == former


@pytest.mark.parametrize(
    "message",
    [
        wire.GatherRequest(),
        wire.GatherRequest(island="island-1"),
        wire.GatherRequest(island="island-1", node="a"),
        wire.GatherRequest(island="island-1", node="a" * 64, address="x"),
        wire.GatherRequest(
            island="island-1",
            node="a",
            address="x",
            gang=wire.Gang(generation=1, nodes=[wire.GangNode(name="a", address="x")] * 2),
        ),
        wire.GatherRequest(
            island="island-1",
            node="a",
            address="x",
            trouble=wire.Trouble(node="b", epoch=1, ending=wire.ENDING_FAILED),
        ),
    ],
)
def test_wire_word_of_a_node_with_holes_is_a_failed_precondition(address, message):
    with grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            rpc.IslandsStub(channel).Gather(message, timeout=10, metadata=((RUN_KEY, "run"),))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_logs_of_nodes_are_read_by_their_names_and_the_leaders_by_the_plain_ones(
    address, client, gang
):
    lease = client.acquire("island-1", "r", Seat("a", 1)).lease
    names = {
        "island-1/b": ("b", ""),
        "expert-0/b": ("b", "expert-0"),
        "expert-0": ("a", "expert-0"),
    }
    with ControlClient(address, "run") as operator, ThreadPoolExecutor() as pool:
        for name, (node, job) in names.items():
            said = operator.log(name, 10, follow=True)
            word = pool.submit(next, said)
            wanted = LogsWanted(agent=not job, trainer=bool(job))
            while client.logs_wanted != wanted:
                client.gather(call(A if node == "a" else B, gang), 5)
            place = LogPlace(f"island-1/{node}", lease.epoch if job else 0, 0)
            assert client.send_log(LogPiece(place, job, b"a line\n"))
            assert word.result(30) == LogLines(("a line",), replace(place, offset=7))
            said.close()
            while client.send_log(LogPiece(place, job, b"")):
                pass
            client.gather(call(A, gang), 5)


def test_nodes_of_an_island_join_by_one_token_each_for_itself(lab, fleet, spec):
    fleet._fleet = replace(fleet.fleet, policy=replace(fleet.fleet.policy, **POLICY))
    token = lab.registrar.token("island-1", 60)
    members = [
        Certified(lab.address, "run", "island-1", token, lab.clock, node=node.name)
        for node in (A, B)
    ]
    for member, node in zip(members, (A, B), strict=True):
        with member:
            member.gather(call(node), 5)
            with pytest.raises(Forbidden, match=f"island-1/{node.name} may not speak for"):
                member.gather(call(GangNode("c", "x")), 5)
    twin = Certified(lab.address, "run", "island-1", token, lab.clock, node="a")
    with twin, pytest.raises(Forbidden, match="island-1/a is another's name already"):
        twin.gather(call(A), 5)


def test_node_of_a_revoked_island_is_shut_out(lab, fleet):
    from atoll.revocations import revoke

    fleet._fleet = replace(fleet.fleet, policy=replace(fleet.fleet.policy, **POLICY))
    with lab.client(identity.island("run", "island-1", "a")) as client:
        client.gather(call(A), 5)
        revoke(lab.folder, [identity.island("run", "island-1")], "stolen", 0.0)
        with pytest.raises(Forbidden, match="island-1/a was revoked"):
            client.gather(call(A), 5)
