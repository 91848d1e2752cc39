"""A server of gRPC's, with health and reflection, for those of images and of experts."""

from __future__ import annotations

import grpc
from google.protobuf.descriptor import FileDescriptor

from atoll.rpc.binding import bind
from atoll.rpc.health import add_health
from atoll.rpc.reflection import add_reflection


class RpcServer:
    """Serves what was added to a server."""

    def __init__(  # noqa: PLR0917 - all that it begins by
        self,
        server: grpc.Server,
        file: FileDescriptor,
        listen: str,
        credentials: grpc.ServerCredentials | None,
        key: str,
        otherwise: str = "",
    ) -> None:
        """Serve nobody yet; arguments as of :func:`atoll.rpc.binding.bind`, and the services."""
        self._server, self._listen, self._credentials = server, listen, credentials
        self._key, self._otherwise = key, otherwise
        names = [each.full_name for each in file.services_by_name.values()]
        self._health = add_health(server, names)
        add_reflection(server, names)

    def start(self) -> str:
        """Serve.

        Returns:
            The address at which this machine calls it.

        Raises:
            BadInput: the port is in use.
        """
        address = bind(self._server, self._listen, self._credentials, self._key, self._otherwise)
        self._server.start()
        return address

    def leave(self) -> None:
        """Let the health say that no more is taken, while the streams there are go on."""
        self._health.enter_graceful_shutdown()

    def stop(self, grace_s: float) -> None:
        """End; streams that are not read to their end by then are cut."""
        self._server.stop(grace_s).wait()
