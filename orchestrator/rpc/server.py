"""The gRPC server: where it listens, and what it serves."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc

from atoll.address import refuse_open, split_address
from atoll.errors import ConfigError
from atoll.rpc.binding import bind
from atoll.rpc.health import add_health
from atoll.rpc.interceptors import ErrorsAsStatus, Readable
from atoll.rpc.reflection import add_reflection
from atoll.wire.v1 import (
    control_pb2,
    control_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    membership_pb2,
    membership_pb2_grpc,
)
from orchestrator.rpc.access import HEALTH
from orchestrator.rpc.identities import IdentitiesServicer
from orchestrator.rpc.interceptors import OfThisRun
from orchestrator.rpc.logbook import LogBook
from orchestrator.rpc.registry import RegistryServicer
from orchestrator.rpc.security import Security
from orchestrator.rpc.servicer import IslandsServicer, OperatorsServicer
from orchestrator.rpc.tracing import TraceDesk
from orchestrator.service import FleetService

_THREADS = 32
_MAX_WATCHERS = _THREADS // 2  # each keeps a thread; the others are for calls that end
_MAX_MESSAGE_BYTES = 4 << 20
_MAX_CALLS = 4096  # that wait for a thread, of all callers together
_MAX_CALLS_OF_ONE = 100  # connection, likewise
_HANDSHAKE_MS = 10_000  # a caller that does not come to the point is hung up on


def start_server(
    service: FleetService,
    listen: str,
    run: str,
    security: Security | None = None,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
    *,
    reflection: bool = False,
) -> tuple[grpc.Server, str]:
    """Serve a fleet.

    Args:
        service: the fleet.
        listen: ``host:port``; port 0 takes any free one.
        run: name of the run, which every caller must know.
        security: what callers must show; None for plain text, on loopback only.
        interceptors: what each call goes through before all else.
        reflection: whether to tell what can be called.

    Returns:
        The running server, and the address at which this machine calls it.

    Raises:
        ConfigError: the address cannot be read, or others could reach it in plain text.
        BadInput: the port is in use.
    """
    try:
        refuse_open(listen, secured=security is not None)
    except ValueError as error:
        raise ConfigError(f"orchestrator.listen: {error}") from error
    host, port = split_address(listen)
    admission = [] if security is None else [security.admission]
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="rpc"),
        interceptors=[
            Readable(),
            *interceptors,
            OfThisRun(run),
            *admission,
            ErrorsAsStatus("the orchestrator"),
        ],
        maximum_concurrent_rpcs=_MAX_CALLS,
        options=[
            ("grpc.so_reuseport", 0),  # else two servers share a port and each gets half the calls
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_concurrent_streams", _MAX_CALLS_OF_ONE),
            ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ],
    )
    book, desk = LogBook(), TraceDesk()
    control_pb2_grpc.add_IslandsServicer_to_server(IslandsServicer(service, book, desk), server)
    control_pb2_grpc.add_OperatorsServicer_to_server(
        OperatorsServicer(service, book, desk, _MAX_WATCHERS), server
    )
    registry = RegistryServicer(service.servers, security)
    membership_pb2_grpc.add_RegistryServicer_to_server(registry, server)
    files = [control_pb2.DESCRIPTOR, membership_pb2.DESCRIPTOR]
    if security is not None:
        identity_pb2_grpc.add_IdentitiesServicer_to_server(
            IdentitiesServicer(service, security.registrar), server
        )
        files.append(identity_pb2.DESCRIPTOR)
    services = [each.full_name for file in files for each in file.services_by_name.values()]
    add_health(server, services)
    if reflection:
        add_reflection(server, [*services, HEALTH])
    credentials = None if security is None else security.credentials
    address = bind(server, f"{host}:{port}", credentials, "orchestrator.listen")
    server.start()
    return server, address
