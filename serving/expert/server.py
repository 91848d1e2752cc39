"""The gRPC server of experts: where it listens, and who may call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from atoll.address import LOOPBACK, split_address
from atoll.errors import ConfigError
from atoll.expert_server_section import ExpertServerSection
from atoll.rpc.interceptors import ErrorsAsStatus, Readable
from atoll.rpc.server import RpcServer
from atoll.wire.v1 import experts_pb2, experts_pb2_grpc
from serving.expert.admission import Admission
from serving.expert.servicer import ExpertsServicer
from serving.remote.tensors import MAX_MESSAGE_BYTES

_STREAMS = 64  # each keeps a thread
_THREADS = 8  # more, for calls that end by themselves
_HANDSHAKE_MS = 10_000  # a caller that does not come to the point is hung up on
_ASK_AGAIN_MS = 10_000  # whether a caller is there, who may have gone without a word
_OPTIONS = [
    ("grpc.so_reuseport", 0),  # else two servers share a port and each gets half the calls
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", _STREAMS),
    ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
    ("grpc.keepalive_time_ms", _ASK_AGAIN_MS),
    ("grpc.keepalive_timeout_ms", _ASK_AGAIN_MS),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),  # gateways ask often
]


class ExpertServer(RpcServer):
    """Serves experts over gRPC, with health and reflection."""

    def __init__(
        self,
        servicer: ExpertsServicer,
        settings: ExpertServerSection,
        admission: Admission | None = None,
    ) -> None:
        """Serve nobody yet.

        Args:
            servicer: answers.
            settings: where to listen, and as whom.
            admission: who may call; None for everybody on this machine.

        Raises:
            ConfigError: a certificate is missing, or is not what it should be.
        """
        credentials = _credentials(settings)
        server = grpc.server(
            ThreadPoolExecutor(_STREAMS + _THREADS, thread_name_prefix="rpc"),
            interceptors=[
                Readable(),
                *([admission] if admission else []),
                ErrorsAsStatus("the expert server"),
            ],
            maximum_concurrent_rpcs=_STREAMS + _THREADS,
            options=_OPTIONS,
        )
        experts_pb2_grpc.add_ExpertsServicer_to_server(servicer, server)
        key = "expert_server.listen"
        super().__init__(server, experts_pb2.DESCRIPTOR, settings.listen, credentials, key)


def _credentials(settings: ExpertServerSection) -> grpc.ServerCredentials | None:
    """As whom to listen, and whose callers to take; None for plain text."""
    if not settings.tls:
        return None
    # Only now, because plain servers do without any cryptography.
    from atoll.authority import hosts_in  # noqa: PLC0415
    from atoll.credentials import SERVER, read_vouched, server_credentials  # noqa: PLC0415

    try:
        pair, authority = read_vouched(Path(settings.tls), SERVER)
    except ConfigError as error:
        raise ConfigError(f"expert_server.tls: {error}") from error
    named, host = hosts_in(pair.certificate), split_address(settings.listen)[0].strip("[]")
    is_any = host in {"0.0.0.0", "::"}  # noqa: S104 - there it is called by other names
    if not set(named).difference(LOOPBACK) if is_any else host not in named:
        raise ConfigError(
            f"expert_server.tls: server.crt in {settings.tls} is for {', '.join(named)}, so nobody "
            f"could call a server at {settings.listen}; `atoll certs FOLDER --server HOST` makes "
            "one for the host at which others call it"
        )
    return server_credentials(pair, authority)
