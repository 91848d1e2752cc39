"""The DHT for processes that must not import torch: they start one that does."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Self

from cryptography import x509

from atoll.authority import Pair
from atoll.clock import Clock
from atoll.errors import BadInput, ConfigError
from atoll.peer_address import as_multiaddr
from membership.found import Found
from membership.piped import Piped
from membership.record import Kind, Record, lasting
from membership.signing import key_of, sealed


class Dht:
    """See :class:`membership.place.Place`; for records of one authority."""

    def __init__(self, addresses: Sequence[str], authority: x509.Certificate, clock: Clock) -> None:
        """Start nothing yet.

        Args:
            addresses: of peers, as people or peers write them.
            authority: whose word counts.
            clock: whose wall clock ends records.

        Raises:
            BadInput: hivemind is not installed.
            ValueError: an address is none.
        """
        if find_spec("hivemind") is None:
            raise BadInput("a DHT is spoken to by hivemind; run pip install 'atoll[dht]'")
        command = [sys.executable, "-P", "-m", "membership.process"]
        self._process = Piped([*command, *map(as_multiaddr, addresses)])
        self._authority = authority
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def open(self) -> None:
        """Start what the calls below need, which takes seconds. Raises: Unreachable, it fails."""
        self._process.start()

    def announce(self, record: Record, by: Pair | None) -> None:
        """See :class:`membership.place.Place`. Raises: ConfigError, nobody would sign for it."""
        if by is None:
            raise ConfigError("who is told of in a DHT has to sign for it, and has no certificate")
        ending = lasting(record, by, self._clock.wall())
        key = key_of(self._authority, record.run, record.kind)
        data = base64.b64encode(sealed(ending, by)).decode()
        self._process.ask({"announce": [key, record.name, data, ending.until]})

    def find(self, run: str, kind: Kind) -> Found:
        """See :class:`membership.place.Place`."""
        answer = self._process.ask({"find": key_of(self._authority, run, kind)})
        held = map(base64.b64decode, answer["found"])
        return Found.among(held, self._authority, run, kind, self._clock.wall())
