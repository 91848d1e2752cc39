"""The gRPC server: where it listens, and how much of everything there is room for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from atoll.clock import Clock
from atoll.errors import ConfigError
from atoll.images import MAX_REQUEST_BYTES
from atoll.rpc.interceptors import ErrorsAsStatus, Readable
from atoll.rpc.server import RpcServer
from atoll.serving_section import ServingSection
from atoll.wire.v1 import images_pb2, images_pb2_grpc
from serving.rpc.admission import Admission
from serving.rpc.callers import Callers
from serving.rpc.servicer import ImagesServicer
from serving.rpc.streams import Streams
from serving.service.service import Service

_STREAMS = 256  # each keeps a thread while it is read
_THREADS = 32  # more, for calls that end by themselves
_MAX_CALLS = 1024  # that wait for a thread, of all callers together
_MAX_CALLS_OF_ONE = 100  # connection, likewise
_HANDSHAKE_MS = 10_000  # a caller that does not come to the point is hung up on
_ASK_AGAIN_MS = 30_000  # whether a caller is there, who may have gone without a word
_OPTIONS = [
    ("grpc.so_reuseport", 0),  # else two servers share a port and each gets half the calls
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_concurrent_streams", _MAX_CALLS_OF_ONE),
    ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
    ("grpc.keepalive_time_ms", _ASK_AGAIN_MS),
    ("grpc.keepalive_timeout_ms", _ASK_AGAIN_MS // 3),
    ("grpc.http2.max_pings_without_data", 0),  # in a queue nothing happens for long
    ("grpc.http2.min_ping_interval_without_data_ms", _ASK_AGAIN_MS // 3),  # callers ask, too
]


class GrpcFrontEnd(RpcServer):
    """Serves a service over gRPC, with health and reflection."""

    def __init__(
        self, service: Service, settings: ServingSection, clock: Clock, callers: Callers
    ) -> None:
        """Serve nobody yet.

        Args:
            service: draws.
            settings: where to listen, and as whom.
            clock: tells how long callers take to read.
            callers: who may call, and how often.

        Raises:
            ConfigError: a certificate is missing, or is not what it should be.
        """
        credentials, admission = _credentials(settings.tls), Admission(callers)
        server = grpc.server(
            ThreadPoolExecutor(_STREAMS + _THREADS, thread_name_prefix="rpc"),
            interceptors=[Readable(), admission, ErrorsAsStatus("the service")],
            maximum_concurrent_rpcs=_MAX_CALLS,
            options=_OPTIONS,
        )
        servicer = ImagesServicer(service, admission.owner, Streams(_STREAMS, clock), callers)
        images_pb2_grpc.add_ImagesServicer_to_server(servicer, server)
        listen, key = settings.grpc_listen, "serving.grpc_listen"
        super().__init__(server, images_pb2.DESCRIPTOR, listen, credentials, key, 'to "" for none')


def _credentials(tls: str) -> grpc.ServerCredentials | None:
    """As whom to listen, by a folder of certificates; None for plain text."""
    if not tls:
        return None
    # Only now, because plain services do without any cryptography.
    from atoll.credentials import SERVER, open_credentials, read_pair  # noqa: PLC0415

    try:
        return open_credentials(read_pair(Path(tls), SERVER))
    except ConfigError as error:
        raise ConfigError(f"serving.tls: {error}") from error
