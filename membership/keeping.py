"""The life of a peer: it keeps what others announce, and finds back to its fellows."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from atoll.errors import Unreachable
from atoll.peer_address import as_written
from membership.node import Node, any_listens

log = logging.getLogger(__name__)

_GREET_S = 10.0

Making = Callable[[Sequence[str]], Awaitable[Node]]


async def keep(made: Making, others: Sequence[str], tell: Callable[[Sequence[str]], None]) -> None:
    """Be a peer until SIGINT or SIGTERM.

    Args:
        made: makes a peer among others, see :meth:`membership.node.Node.keeping`; made anew to
            join them, it has to have its address again.
        others: multiaddrs of peers to join.
        tell: told the addresses at which others call it, as people write them.

    Raises:
        BadInput: it cannot listen there, or its file holds no key.
        Unreachable: its daemon has ended.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    node = await _joined(made, others)
    tell([as_written(address) for address in await node.addresses()])
    while not await _set_within(stopped, _GREET_S):
        await node.greet()
        if node.is_alone and others and await any_listens(others):
            await node.close()  # what it kept is announced again within seconds
            node = await _joined(made, others)
    await node.close()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


async def _joined(made: Making, others: Sequence[str]) -> Node:
    """A peer among others; for now without, if none of them answers."""
    try:
        return await made(others)
    except Unreachable as error:
        log.warning("alone for now", extra={"fields": {"why": str(error)}})
        return await made(())
