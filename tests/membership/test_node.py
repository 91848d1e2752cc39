"""Peers, clients and liars of a real DHT: each is a daemon of its own, on loopback."""

from __future__ import annotations

import asyncio
import gc
import math
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("hivemind", reason="no DHT here: pip install 'atoll[dht]'")

from hivemind.dht import DHTID, DHTNode
from hivemind.dht.storage import DictionaryDHTValue

from atoll import authority
from atoll.errors import BadInput, Unreachable
from atoll.peer_address import as_multiaddr, as_written
from atoll.private_files import write_private
from membership import keeping
from membership.found import Found
from membership.node import Node
from membership.process import Service
from membership.record import Kind, Record
from membership.signing import key_of, sealed
from tests.ports import free_port

NOW = time.time()  # of collection: tests run any time later
DAY_S = 86400
CA = authority.new_authority(NOW, DAY_S)
SERVER = authority.for_hosts(CA, ["192.0.2.7"], NOW, DAY_S)
STRANGER = authority.for_hosts(authority.new_authority(NOW, DAY_S), ["192.0.2.9"], NOW, DAY_S)
LEADER = Record(Kind.ORCHESTRATOR, "run", "process 7 on a", "192.0.2.7:7000", 3, NOW + DAY_S / 2)
pytestmark = pytest.mark.filterwarnings(
    "ignore:path is deprecated:DeprecationWarning",
    # hivemind leaves pipes of its daemons to the garbage collector.
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

KEY = key_of(CA.certificate, "run", Kind.ORCHESTRATOR)


class Lab:
    """Peers and clients, which all leave in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.there: list[Node] = []

    async def peer(self, name: str, *others: str, port: int = 0) -> tuple[Node, str]:
        listen = f"/ip4/127.0.0.1/tcp/{port}"
        node = await Node.keeping(listen, self.folder / name, [CA.certificate], others)
        self.there.append(node)
        (address,) = await node.addresses()
        return node, address

    async def client(self, *peers: str) -> Node:
        self.there.append(await Node.calling(peers))
        return self.there[-1]

    async def liar(self, *peers: str, listens: bool = False) -> DHTNode:
        """One that keeps and says whatever it likes."""
        liar = await DHTNode.create(
            initial_peers=list(peers),
            client_mode=not listens,
            no_listen=not listens,
            nat_port_map=False,
        )
        self.there.append(Node(liar))
        return liar

    async def leave(self, *nodes: Node) -> None:
        for node in nodes or list(self.there):
            self.there.remove(node)
            await node.close()


@pytest.fixture
def within(tmp_path) -> Callable[[Callable[[Lab], Awaitable[None]]], None]:
    """Runs a story in a lab."""

    def run(story: Callable[[Lab], Awaitable[None]]) -> None:
        async def told() -> None:
            lab = Lab(tmp_path)
            try:
                await story(lab)
            finally:
                await lab.leave()

        asyncio.run(told())
        gc.collect()

    return run


async def announce(node: Node, record: Record = LEADER) -> None:
    await node.announce(KEY, record.name, sealed(record, SERVER), record.until)


def believed(held: list[bytes]) -> Found:
    return Found.among(held, CA.certificate, "run", Kind.ORCHESTRATOR, LEADER.until - 60)


def test_record_is_found_through_another_peer_also_when_the_first_is_gone(within):
    async def story(lab: Lab) -> None:
        first, at_first = await lab.peer("first")
        _, at_second = await lab.peer("second", at_first)
        await announce(await lab.client(at_first))
        client = await lab.client(at_second)
        assert believed(await client.find(KEY)) == Found((LEADER,), 0)
        assert await client.find(key_of(CA.certificate, "run", Kind.ISLAND)) == []
        await lab.leave(first)
        assert believed(await client.find(KEY)) == Found((LEADER,), 0)

    within(story)


def test_record_is_hidden_by_nothing_that_liars_write_to_peers(within):
    async def story(lab: Lab) -> None:
        _, address = await lab.peer("peer")
        honest, liar = await lab.client(address), await lab.liar(address)
        genuine, ends = sealed(LEADER, SERVER), LEADER.until
        await honest.announce(KEY, LEADER.name, genuine, ends)
        forged = sealed(replace(LEADER, address="192.0.2.9:7000", until=NOW + DAY_S), STRANGER)
        for value, until, name in [
            (forged, NOW + DAY_S, LEADER.name),
            (forged, NOW + DAY_S, "another"),
            ("no record", NOW + DAY_S, LEADER.name),
            (b"garbage", NOW + DAY_S, None),  # a plain value would take the place of all names
            (genuine, NOW + DAY_S, LEADER.name),  # replayed for longer than was signed
            (genuine, ends, "another"),
            (genuine, ends, None),
        ]:
            assert not await liar.store(KEY, value, until, subkey=name, exclude_self=True)
        other_key = key_of(CA.certificate, "other", Kind.ORCHESTRATOR)
        assert not await liar.store(other_key, genuine, ends, LEADER.name, exclude_self=True)
        assert await honest.find(KEY) == [genuine]

    within(story)


def test_record_is_hidden_by_no_peer_that_lies(within):
    async def story(lab: Lab) -> None:
        _, address = await lab.peer("peer")
        liar = await lab.liar(address, listens=True)
        client = await lab.client(address)
        await announce(client)
        garbage = liar.protocol.serializer.dumps(b"garbage")
        many = DictionaryDHTValue()
        for name, value in [(LEADER.name, garbage), ("another", garbage), ("no bytes", 7)]:
            many.store(name, value, NOW + DAY_S)
        for lie, num_refused in [(garbage, 0), (DictionaryDHTValue(), 0), (many, 1)]:
            liar.protocol.storage.clear()
            liar.protocol.storage.store(DHTID.generate(source=KEY), lie, math.inf)
            assert believed(await client.find(KEY)) == Found((LEADER,), num_refused)

    within(story)


def test_peer_that_began_alone_joins_the_other_once_that_is_there(within, monkeypatch):
    monkeypatch.setattr(keeping, "_GREET_S", 0.2)

    async def story(lab: Lab) -> None:
        port, told = free_port(), asyncio.get_running_loop().create_future()
        other, at_other = await lab.peer("other", port=port)
        await lab.leave(other)
        here = f"/ip4/127.0.0.1/tcp/{free_port()}"
        made = partial(Node.keeping, here, lab.folder / "peer", [CA.certificate])
        kept = asyncio.create_task(keeping.keep(made, [at_other], told.set_result))
        (address,) = await told
        await announce(await lab.client(as_multiaddr(address)))  # while it is alone
        await lab.peer("other", port=port)
        client = await lab.client(at_other)
        while not await client.find(KEY):
            await asyncio.sleep(0.1)
            with suppress(Unreachable):  # it is made anew to join
                await announce(await lab.client(as_multiaddr(address)))
        signal.raise_signal(signal.SIGTERM)
        await kept

    within(story)


def test_client_finds_back_to_peers_that_were_all_gone(within):
    async def story(lab: Lab) -> None:
        port = free_port()
        peer, address = await lab.peer("peer", port=port)
        service = Service([address])
        assert await service.answer({"find": KEY}) == {"found": []}
        await lab.leave(peer)
        told = await service.answer({"find": KEY})
        assert told == {"error": "no peer answers"}
        told = await service.answer({"find": KEY})
        assert told == {"error": f"of the peers {as_written(address)} none answers"}
        _, again = await lab.peer("peer", port=port)
        assert again == address
        assert await service.answer({"find": KEY}) == {"found": []}
        await service.close()

    within(story)


def test_peer_whose_file_holds_no_key_is_refused_by_its_name(within):
    async def story(lab: Lab) -> None:
        write_private(lab.folder / "notes", b"no key")
        with pytest.raises(BadInput, match="/notes holds no key of a peer; name a file that is"):
            await lab.peer("notes")

    within(story)
