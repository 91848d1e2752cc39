"""Where a server listens."""

from __future__ import annotations

import grpc

from atoll.address import answers_at, split_address
from atoll.ports import taken


def bind(
    server: grpc.Server,
    listen: str,
    credentials: grpc.ServerCredentials | None,
    key: str,
    otherwise: str = "",
) -> str:
    """Have a server listen, once it is started.

    Args:
        server: which.
        listen: ``host:port``; port 0 takes any free one.
        credentials: as whom; None for plain text.
        key: of the configuration, that says so.
        otherwise: what else the key may be set to.

    Returns:
        The address at which this machine calls it.

    Raises:
        BadInput: the port is in use.
    """
    try:
        if credentials is None:
            bound = server.add_insecure_port(listen)
        else:
            bound = server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        raise taken(listen, key, otherwise) from error
    return answers_at(split_address(listen)[0], bound)
