"""The gRPC server: where it listens, and how much of everything there is room for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from atoll.address import answers_at, refuse_open, split_address
from atoll.clock import Clock
from atoll.errors import BadInput, ConfigError
from atoll.rpc.health import add_health
from atoll.rpc.interceptors import ErrorsAsStatus, Readable
from atoll.rpc.reflection import add_reflection
from atoll.wire.v1 import images_pb2, images_pb2_grpc
from serving.rpc.keys import owner_by
from serving.rpc.servicer import ImagesServicer
from serving.rpc.streams import Streams
from serving.service import Service

_STREAMS = 256  # each keeps a thread while it is read
_THREADS = 32  # more, for calls that end by themselves
_MAX_CALLS = 1024  # that wait for a thread, of all callers together
_MAX_CALLS_OF_ONE = 100  # connection, likewise
_MAX_REQUEST_BYTES = 64 << 10
_HANDSHAKE_MS = 10_000  # a caller that does not come to the point is hung up on
_ASK_AGAIN_MS = 30_000  # whether a caller is there, who may have gone without a word
_OPTIONS = [
    ("grpc.so_reuseport", 0),  # else two servers share a port and each gets half the calls
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    ("grpc.max_concurrent_streams", _MAX_CALLS_OF_ONE),
    ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
    ("grpc.keepalive_time_ms", _ASK_AGAIN_MS),
    ("grpc.keepalive_timeout_ms", _ASK_AGAIN_MS // 3),
    ("grpc.http2.min_ping_interval_without_data_ms", _ASK_AGAIN_MS // 3),  # callers ask, too
]


class GrpcFrontEnd:
    """Serves a service over gRPC, with health and reflection."""

    def __init__(
        self,
        service: Service,
        listen: str,
        clock: Clock,
        owner_of: Callable[[str], str],
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """Serve nobody yet.

        Args:
            service: draws.
            listen: ``host:port``; port 0 takes any free one.
            clock: tells how long callers take to read.
            owner_of: who has an API key, "" for none; raises Forbidden.
            credentials: who the server is; None for plain text, on loopback only.

        Raises:
            ConfigError: the address cannot be read, or others could reach it in plain text.
        """
        try:
            refuse_open(listen, secured=credentials is not None)
            self._host, self._port = split_address(listen)
        except ValueError as error:
            raise ConfigError(f"serving.grpc_listen: {error}") from error
        self._credentials = credentials
        self._server = grpc.server(
            ThreadPoolExecutor(_STREAMS + _THREADS, thread_name_prefix="rpc"),
            interceptors=[Readable(), ErrorsAsStatus("the service")],
            maximum_concurrent_rpcs=_MAX_CALLS,
            options=_OPTIONS,
        )
        servicer = ImagesServicer(service, owner_by(owner_of), Streams(_STREAMS, clock))
        images_pb2_grpc.add_ImagesServicer_to_server(servicer, self._server)
        names = [each.full_name for each in images_pb2.DESCRIPTOR.services_by_name.values()]
        self._health = add_health(self._server, names)
        add_reflection(self._server, names)

    def start(self) -> str:
        """Serve.

        Returns:
            The address at which this machine calls it.

        Raises:
            BadInput: the port is in use.
        """
        where = f"{self._host}:{self._port}"
        try:
            if self._credentials is None:
                bound = self._server.add_insecure_port(where)
            else:
                bound = self._server.add_secure_port(where, self._credentials)
        except RuntimeError as error:
            raise BadInput(
                f"port {self._port} on {self._host} is in use, or is not this machine's; set "
                'serving.grpc_listen to another, to port 0 for any free one, or to "" for none'
            ) from error
        self._server.start()
        return answers_at(self._host, bound)

    def leave(self) -> None:
        """Let the health say that no more is taken, while the streams there are go on."""
        self._health.enter_graceful_shutdown()

    def stop(self, grace_s: float) -> None:
        """End; streams that are not read to their end by then are cut."""
        self._server.stop(grace_s).wait()
