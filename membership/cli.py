"""``atoll peer``: one of those who keep the DHT in which runs are found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer


def peer(
    *,
    authority: Annotated[
        list[Path],
        typer.Option(help="ca.crt of a lab: its records are kept, nobody else's. Repeatable."),
    ],
    listen: Annotated[str, typer.Option(help="Where others call it: host:port.")] = "127.0.0.1:0",
    identity: Annotated[
        Path | None,
        typer.Option(help="File of its key, made if missing; without, its ID is new every time."),
    ] = None,
    join: Annotated[
        list[str] | None, typer.Option(help="Another peer, as it printed itself. Repeatable.")
    ] = None,
) -> None:
    """Keep what orchestrators and islands announce, for agents to find, until Ctrl-C.

    Prints the addresses at which others call it.
    """
    import asyncio
    import os
    import tempfile
    from functools import partial

    from atoll import logs
    from atoll.credentials import read_certificate
    from atoll.errors import BadInput
    from atoll.peer_address import as_multiaddr

    authorities = [read_certificate(path) for path in authority]
    try:
        others = [as_multiaddr(other) for other in join or ()]
    except ValueError as error:
        raise BadInput(f"--join: {error}") from error
    where = _free(listen)
    if identity is not None and not identity.parent.is_dir():
        raise BadInput(f"--identity: there is no folder {identity.parent}")
    try:
        from membership.keeping import keep
        from membership.node import Node, sockets_in
    except ModuleNotFoundError as error:
        raise BadInput("a DHT is spoken to by hivemind; run pip install 'atoll[dht]'") from error

    logs.set_up()
    os.umask(0o077)  # for the key
    with tempfile.TemporaryDirectory(prefix="atoll-") as folder:
        sockets_in(Path(folder))
        made = partial(Node.keeping, where, identity or Path(folder) / "key", authorities)
        asyncio.run(keep(made, others, _tell))


def _tell(addresses: Sequence[str]) -> None:
    """Print those that others can call; loopback where there is no other."""
    from atoll.address import is_loopback

    beyond = [each for each in addresses if not is_loopback(each.partition("/")[0])]
    typer.echo("\n".join(beyond or addresses))
    sys.stdout.flush()


def _free(listen: str) -> str:
    """Where to listen, as a multiaddr with a port that is free. Raises: BadInput, there is none.

    The daemon would share a port with another one.
    """
    import socket

    from atoll.address import split_address
    from atoll.errors import BadInput
    from atoll.peer_address import listening

    try:
        host, port = split_address(listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host.strip("[]"), port), family=family) as free:
            bound, number, *_ = free.getsockname()
            return listening(f"[{bound}]:{number}")
    except OSError as error:
        raise BadInput(f"--listen: {listen} cannot be listened at: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"--listen: {error}") from error
