"""Who gets through to a server with transport security, over real connections."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atoll import authority, identity
from atoll.authority import Pair
from atoll.clock import SystemClock
from atoll.config_file import read_config
from atoll.control import RUN_KEY, ControlClient
from atoll.credentials import CA, SERVER, client_credentials, write_pair
from atoll.errors import ConfigError, Forbidden, Unreachable
from atoll.types import Action, Assignment, Ending, Lease, Outcome, Progress, Submission
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import control_pb2_grpc as rpc
from orchestrator.rpc.security import secured

OURS = ((RUN_KEY, "run"),)
PROGRESS = Progress(1, 1.0, 1.0)


@pytest.fixture
def operator(lab):
    with lab.client(identity.operator("alice")) as client:
        yield client


@pytest.fixture
def island(lab):
    with lab.client(identity.island("run", "island-1")) as client:
        yield client


@pytest.fixture
def lease(operator, island, spec) -> Lease:
    operator.submit([Submission(spec())])
    answer = island.acquire("island-1", "r")
    assert isinstance(answer, Assignment)
    return answer.lease


def test_tls_carries_an_islands_whole_life(operator, island, lease, ref):
    island.heartbeat(lease, PROGRESS)
    island.commit(lease, ref(lease, 100))
    island.release(lease, Outcome(Ending.FINISHED), "f")
    assert operator.fleet().jobs[0].checkpoint == ref(lease, 100)
    assert next(operator.events()).kind == "orchestrator-serves"


@pytest.mark.parametrize("who", ["nobody", "plain", "stranger", "ended", "server"])
def test_tls_gives_nothing_to_who_has_no_certificate_of_the_lab(lab, who):
    other = authority.new_authority(time.time(), 3600)
    alice = identity.operator("alice")
    trusted = lab.ca.certificate
    credentials = {
        "nobody": grpc.ssl_channel_credentials(lab.ca.certificate_pem),
        "plain": None,
        "stranger": client_credentials(
            authority.for_identity(other, alice, time.time(), 600), trusted
        ),
        "ended": client_credentials(
            authority.for_identity(lab.ca, alice, time.time() - 100, 50), trusted
        ),
        "server": client_credentials(lab.server, trusted),
    }[who]
    with ControlClient(lab.address, "run", credentials) as client, pytest.raises(Unreachable):
        client.fleet()


def test_tls_of_another_lab_is_not_called(lab):
    other = authority.new_authority(time.time(), 3600)
    credentials = client_credentials(lab.pair(identity.operator("alice")), other.certificate)
    with (
        ControlClient(lab.address, "run", credentials) as client,
        pytest.raises(Unreachable, match=r"CERTIFICATE_VERIFY_FAILED|SSL_ERROR"),
    ):
        client.fleet()


def test_tls_server_for_another_host_is_not_called(lab):
    named = lab.address.replace("127.0.0.1", "localhost")
    credentials = client_credentials(lab.pair(identity.operator("a")), lab.ca.certificate)
    with ControlClient(named, "run", credentials) as client, pytest.raises(Unreachable):
        client.fleet()


def test_tls_certificate_that_ends_during_a_connection_is_refused(lab, operator):
    operator.fleet()
    lab.clock.ahead_s = 601
    with pytest.raises(Forbidden, match="the certificate of operator alice has ended"):
        operator.fleet()


def test_tls_certificate_of_the_authority_that_names_nobody_is_refused(lab):
    nobody = authority.for_identity(lab.ca, identity.operator("a"), time.time(), 60)
    builder = authority._begun(
        authority._NOBODY, lab.ca.certificate.subject, nobody.key.public_key(), time.time(), 60
    )
    signed = builder.sign(lab.ca.key, nobody.certificate.signature_hash_algorithm)
    with lab.client(Pair(signed, nobody.key)) as client, pytest.raises(Forbidden, match="no isl"):
        client.fleet()


def test_island_may_not_call_as_an_operator(island, operator, lease):
    for call in (
        island.fleet,
        lambda: island.drain("out of spite"),
        lambda: island.submit([]),
        lambda: next(island.events()),
    ):
        with pytest.raises(Forbidden, match="island-1 may not call Operators"):
            call()
    assert not operator.fleet().draining


def test_island_with_a_stolen_lease_is_refused(lab, operator, lease, ref):
    with lab.client(identity.island("run", "thief")) as thief:
        for call in (
            lambda: thief.acquire("island-1", "r"),
            lambda: thief.heartbeat(lease, PROGRESS),
            lambda: thief.commit(lease, ref(lease, 100)),
            lambda: thief.release(lease, Outcome(Ending.DRAINED), "f"),
        ):
            with pytest.raises(Forbidden, match="thief may not speak for island-1"):
                call()
    (job,) = operator.fleet().jobs
    assert (job.island, job.checkpoint) == ("island-1", None)


def test_island_of_another_run_is_refused_even_if_it_knows_the_name_of_this(lab):
    with (
        lab.client(identity.island("another", "island-1")) as stranger,
        pytest.raises(Forbidden, match="of another run"),
    ):
        stranger.acquire("island-1", "r")


def test_island_that_calls_the_wrong_run_is_not_answered(lab):
    with (
        lab.client(identity.island("run", "island-1"), run="another") as island,
        pytest.raises(Unreachable, match="another run's orchestrator"),
    ):
        island.acquire("island-1", "r")


def test_refusals_have_the_status_for_them_and_tell_no_more(lab, lease):
    with lab.channel_as(lab.pair(identity.island("run", "thief"))) as channel:
        stolen = wire.Lease(job=lease.job, island="island-1", epoch=1)
        calls = [
            (rpc.IslandsStub(channel).Heartbeat, wire.HeartbeatRequest(lease=stolen)),
            (rpc.OperatorsStub(channel).GetFleet, wire.GetFleetRequest()),
        ]
        for call, request in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call(request, timeout=10, metadata=OURS)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "expert-0" not in caught.value.details()


def test_oversized_message_is_refused_and_the_next_is_served(lab, operator):
    with lab.channel_as(lab.pair(identity.operator("alice"))) as channel:
        stub = rpc.OperatorsStub(channel)
        request = wire.DrainRequest(reason="x" * (5 << 20))
        with pytest.raises(grpc.RpcError) as caught:
            stub.Drain(request, timeout=10, metadata=OURS)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not stub.GetFleet(wire.GetFleetRequest(), timeout=10, metadata=OURS).draining


def flood(call: Any, request: Any) -> list[tuple[grpc.StatusCode, dict[str, str]]]:
    """Call a thousand times as fast as can be; the statuses, and what was said behind them."""

    def answer(_: int) -> tuple[grpc.StatusCode, dict[str, str]]:
        try:
            call(request, timeout=30, metadata=OURS)
        except grpc.RpcError as error:
            return error.code(), dict(error.trailing_metadata() or ())
        return grpc.StatusCode.OK, {}

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(answer, range(1000)))


def test_flood_is_refused_with_a_hint_and_others_are_served(lab, operator):
    with lab.channel_as(lab.pair(identity.island("run", "flooding"))) as channel:
        request = wire.AcquireRequest(island="flooding", request_id="r")
        answers = flood(rpc.IslandsStub(channel).Acquire, request)
        refused = [hint for code, hint in answers if code is grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert {code for code, _ in answers} == {
            grpc.StatusCode.OK,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }
        assert len(answers) - len(refused) >= 100
        assert all(1 <= int(hint["grpc-retry-pushback-ms"]) <= 20 for hint in refused)
        assert operator.fleet().jobs == ()


def test_flood_through_health_is_refused_too(lab):
    with lab.channel_as(lab.pair(identity.island("run", "flooding"))) as channel:
        answers = flood(health_pb2_grpc.HealthStub(channel).Check, health_pb2.HealthCheckRequest())
    assert {code for code, _ in answers} == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_agent_that_is_told_to_wait_gets_its_answer_in_the_end(lab):
    with lab.client(identity.island("run", "hasty")) as hasty:
        for number in range(150):
            hasty.acquire("hasty", str(number))


def test_health_is_told_to_everybody_of_the_lab(lab):
    for who in (identity.operator("a"), identity.island("run", "a"), identity.joining("run", "a")):
        with lab.channel_as(lab.pair(who)) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            watch.cancel()


def test_reflection_is_not_served(lab):
    with lab.channel_as(lab.pair(identity.operator("alice"))) as channel:
        for version in ("v1", "v1alpha"):
            call = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            )
            with pytest.raises(grpc.RpcError) as caught:
                next(call(iter([b""]), timeout=10))
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture
def settings(tmp_path, lab):
    """The configuration of a run with a folder of certificates for a host."""

    def make(host: str, seconds: float = 3600, listen: str = "192.0.2.7:0"):
        folder = tmp_path / "tls"
        write_pair(folder, CA, lab.ca)
        server = authority.for_hosts(lab.ca, [host], time.time() - 100, seconds)
        write_pair(folder, SERVER, server)
        keys = {"run.uri": tmp_path / "run", "orchestrator.tls": folder}
        keys["orchestrator.listen"] = listen
        return read_config(None, [f"{key}={value}" for key, value in keys.items()])

    return make


def test_folder_with_what_is_asked_for_serves(store, settings):
    assert secured(settings("192.0.2.7"), "run", SystemClock(), store.claim) is not None
    assert (
        secured(settings("lab.example", listen="0.0.0.0:0"), "run", SystemClock(), store.claim)
        is not None
    )


def test_folder_whose_certificate_is_for_another_host_is_refused_with_the_mend(store, settings):
    with pytest.raises(ConfigError, match=r"orchestrator\.tls: .*--host 192\.0\.2\.7`"):
        secured(settings("lab.example.org"), "run", SystemClock(), store.claim)


def test_folder_whose_certificate_has_ended_is_refused_with_the_mend(store, settings):
    with pytest.raises(ConfigError, match=r"server\.crt in .* has ended; run `atoll certs"):
        secured(settings("192.0.2.7", seconds=50), "run", SystemClock(), store.claim)


def test_folder_without_the_authoritys_key_is_refused(store, settings, tmp_path):
    config = settings("192.0.2.7")
    (tmp_path / "tls" / "ca.key").unlink()
    with pytest.raises(ConfigError, match=r"orchestrator\.tls: .*ca\.key cannot be read"):
        secured(config, "run", SystemClock(), store.claim)


def test_events_name_the_operator_whatever_the_reason_says(operator, lease):
    def told(kind: str) -> str:
        return next(event.reason for event in operator.events() if event.kind == kind)

    operator.drain("", "island-1")
    assert told("island-draining") == "island-1 is to leave: asked by operator alice"
    operator.steer(Action.PAUSE, ["expert-0"], "too hot (operator bob)" + " " * 2000)
    reason = told("job-pause")
    assert reason.startswith("to be paused on island-1: operator alice: too hot (operator bob)")
