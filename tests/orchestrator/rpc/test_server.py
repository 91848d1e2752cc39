from __future__ import annotations

import socket

import pytest

from atoll.errors import BadInput, ConfigError
from orchestrator.rpc.server import start_server


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:0", "[::]:0", "192.168.0.7:50051", "example.org:50051", ":0"]
)
def test_server_beyond_loopback_is_refused_by_key(service, listen):
    with pytest.raises(ConfigError, match=r"orchestrator\.listen.*127\.0\.0\.1"):
        start_server(service, listen, "run")


@pytest.mark.parametrize(
    "listen", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", "127.0.0.1:٣", "::1:0", ""]
)
def test_server_address_that_cannot_be_read_is_refused_by_key(service, listen):
    with pytest.raises(ConfigError, match=r"orchestrator\.listen.*host:port"):
        start_server(service, listen, "run")


@pytest.mark.parametrize("other", ["server", "socket"])
def test_server_port_in_use_names_the_port_and_the_mend(service, other):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = None
        if other == "server":
            taken.close()
            server, address = start_server(service, address, "run")
        else:
            taken.listen()
        port = address.rpartition(":")[2]
        with pytest.raises(BadInput, match=rf"port {port} on 127\.0\.0\.1 is in use.*port 0"):
            start_server(service, address, "run")
        if server is not None:
            server.stop(grace=None).wait()
