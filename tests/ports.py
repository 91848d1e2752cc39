"""Ports for servers that must be told theirs before they start."""

import secrets
import socket

NOBODYS = range(20_000, 32_000)  # Linux gives these to no client, nor to who asks for port 0


def free_port() -> int:
    """Of loopback, and still free when its server comes to bind it.

    A port that the system deals out may be another's by then: tests beside this one, and their
    clients, take some all the time.
    """
    while True:
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", secrets.choice(NOBODYS)))
            except OSError:
                continue
            return int(free.getsockname()[1])


def free_address() -> str:
    """Of loopback, with a free port."""
    return f"127.0.0.1:{free_port()}"
