"""The gRPC server: where it listens, and what it serves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from atoll.address import loopback, split_address
from atoll.errors import BadInput, ConfigError
from atoll.wire.v1 import control_pb2, control_pb2_grpc
from orchestrator.health import add_health
from orchestrator.interceptors import ErrorsAsStatus, OfThisRun
from orchestrator.service import FleetService
from orchestrator.servicer import IslandsServicer, OperatorsServicer

_THREADS = 32
_MAX_WATCHERS = _THREADS // 2  # each keeps a thread; the others are for calls that end
_MAX_MESSAGE_BYTES = 4 << 20


def start_server(service: FleetService, listen: str, run: str) -> tuple[grpc.Server, str]:
    """Serve a fleet.

    Args:
        service: the fleet.
        listen: ``host:port`` on loopback; port 0 takes any free one.
        run: name of the run, which every caller must know.

    Returns:
        The running server, and the address it answers at.

    Raises:
        ConfigError: the address cannot be read, or others could reach it.
        BadInput: the port is in use.
    """
    try:
        host, port = split_address(loopback(listen))
    except ValueError as error:
        raise ConfigError(f"orchestrator.listen: {error}") from error
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="rpc"),
        interceptors=[OfThisRun(run), ErrorsAsStatus()],
        options=[
            ("grpc.so_reuseport", 0),  # else two servers share a port and each gets half the calls
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ],
    )
    control_pb2_grpc.add_IslandsServicer_to_server(IslandsServicer(service), server)
    control_pb2_grpc.add_OperatorsServicer_to_server(
        OperatorsServicer(service, _MAX_WATCHERS), server
    )
    add_health(server, (s.full_name for s in control_pb2.DESCRIPTOR.services_by_name.values()))
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise BadInput(
            f"port {port} on {host} is in use, or is not this machine's; set orchestrator.listen "
            "to another, or to port 0 for any free one"
        ) from error
    server.start()
    return server, f"{host}:{bound}"
