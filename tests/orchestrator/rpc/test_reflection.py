"""What tools are told of the services, by the library's own client of reflection."""

from __future__ import annotations

import threading

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from atoll import identity
from atoll.control import ControlClient
from orchestrator.rpc.server import start_server

OURS = {
    "atoll.wire.v1.Islands",
    "atoll.wire.v1.Operators",
    "atoll.wire.v1.Registry",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
}


@pytest.fixture
def reflection() -> bool:
    return True


@pytest.fixture
def plain(fleet):
    server, address = start_server(fleet, "127.0.0.1:0", "run", reflection=True)
    yield address
    server.stop(grace=None).wait()


def test_reflection_in_plain_text_tells_services_and_messages(plain):
    with grpc.insecure_channel(plain) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == OURS
        file = database.FindFileContainingSymbol("atoll.wire.v1.Operators")
        assert "HeartbeatRequest" in {message.name for message in file.message_type}


def test_reflection_over_tls_is_for_operators_alone(lab):
    with lab.channel_as(lab.pair(identity.operator("alice"))) as channel:
        services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
        assert services == OURS | {"atoll.wire.v1.Identities"}
    for who in (identity.island("run", "island-1"), identity.joining("run", "island-1")):
        with lab.channel_as(lab.pair(who)) as channel, pytest.raises(grpc.RpcError) as caught:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_reflection_asked_for_by_many_leaves_room_for_calls(plain):
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    def endless():
        yield request
        held.wait()

    held = threading.Event()
    with grpc.insecure_channel(plain) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        streams = [stub.ServerReflectionInfo(endless()) for _ in range(40)]
        codes = []
        for stream in streams:
            try:
                next(stream)
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                codes.append(error.code())
        assert codes.count(grpc.StatusCode.OK) == 4
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 36
        with ControlClient(plain, "run") as client:
            client.fleet()
        held.set()
        for stream in streams:
            stream.cancel()


def test_reflection_sent_what_cannot_be_read_refuses_it_and_lets_it_go(plain):
    with grpc.insecure_channel(plain) as channel:
        call = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
        for _ in range(150):  # more than a connection has streams
            with pytest.raises(grpc.RpcError) as caught:
                next(call(iter([b"\xff"]), timeout=10))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "Operators" in str(ProtoReflectionDescriptorDatabase(channel).get_services())
