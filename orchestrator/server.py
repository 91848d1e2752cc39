"""The gRPC server: where it listens, and what it serves."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from atoll.errors import BadInput, ConfigError
from atoll.wire.v1 import control_pb2, control_pb2_grpc
from orchestrator.service import FleetService
from orchestrator.servicer import ErrorsAsStatus, IslandsServicer, OperatorsServicer

_THREADS = 32
_MAX_WATCHERS = _THREADS // 2  # each keeps a thread; the others are for calls that end
_MAX_MESSAGE_BYTES = 4 << 20


def start_server(service: FleetService, listen: str) -> tuple[grpc.Server, str]:
    """Serve a fleet.

    Args:
        service: the fleet.
        listen: ``host:port`` on loopback; port 0 takes any free one.

    Returns:
        The running server, and the address it answers at.

    Raises:
        ConfigError: the address cannot be read, or others could reach it.
        BadInput: the port is in use.
    """
    host, port = _loopback(listen)
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="rpc"),
        interceptors=[ErrorsAsStatus()],
        options=[
            ("grpc.so_reuseport", 0),  # else two servers share a port and each gets half the calls
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ],
    )
    control_pb2_grpc.add_IslandsServicer_to_server(IslandsServicer(service), server)
    control_pb2_grpc.add_OperatorsServicer_to_server(
        OperatorsServicer(service, _MAX_WATCHERS), server
    )
    _add_health(server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise BadInput(
            f"port {port} on {host} is in use; set orchestrator.listen to another, "
            "or to port 0 for any free one"
        ) from error
    server.start()
    return server, f"{host}:{bound}"


def _add_health(server: grpc.Server) -> None:
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    services = control_pb2.DESCRIPTOR.services_by_name.values()
    for name in ("", *(service.full_name for service in services)):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)


def _loopback(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(
            f"orchestrator.listen = {listen!r} is no address; write it as host:port, "
            "e.g. 127.0.0.1:0"
        )
    if host != "localhost" and not _is_loopback(host.strip("[]")):
        raise ConfigError(
            f"orchestrator.listen = {listen!r} could be reached from other machines, and calls are "
            "not secured yet; listen on 127.0.0.1 or [::1]"
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
