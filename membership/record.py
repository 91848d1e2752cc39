"""What orchestrators, islands and servers of experts say of themselves: small, and expiring."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from atoll.address import split_address
from atoll.codec import count, required
from atoll.errors import Refused
from atoll.wire.v1 import membership_pb2 as wire

if TYPE_CHECKING:
    from atoll.authority import Pair

LASTS_S = 60.0  # of a record, unless its signer's certificate ends sooner
SKEW_S = 30.0  # clocks of a lab may differ by so much
MOST_BYTES = 16_384  # of a record as others are told of it
_MOST_FACTS = 128


class Kind(enum.StrEnum):
    """Who speaks; each kind has a key of its own in the DHT."""

    ORCHESTRATOR = "orchestrator"
    ISLAND = "island"
    EXPERTS = "experts"  # a server of some


class Forged(ValueError):
    """A record that its signature does not bear out, or that nobody well-meaning would make."""


@dataclass(frozen=True, slots=True)
class Record:
    """What somebody says of themselves.

    Attributes:
        kind: who speaks.
        run: name of the run.
        name: tells who speaks from others of the kind and run; of servers of experts it is their
            address, for which alone their certificates let them speak.
        address: ``host:port`` at which it is called; "" if it is not.
        number: of several orchestrators the one with the largest was the last to lead.
        until: when it ends, seconds since the Unix epoch; set as it is announced.
        left: whether who speaks is no more.
        facts: what else there is to tell, by name.
        by: URI of who has signed it, as it was read; "" of who has none. No part of what is said.
    """

    kind: Kind
    run: str
    name: str
    address: str = ""
    number: int = 0
    until: float = 0.0
    left: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    by: str = field(default="", compare=False)


def lasting(record: Record, by: Pair | None, now: float) -> Record:
    """A record as it is told now, until it is told again."""
    ends = math.inf if by is None else by.certificate.not_valid_after_utc.timestamp()
    return replace(record, until=min(now + LASTS_S, ends))


def encoded(record: Record) -> bytes:
    """A record as it is written."""
    return wire.Record(
        kind=record.kind,
        run=record.run,
        name=record.name,
        address=record.address,
        number=record.number,
        until=record.until,
        left=record.left,
        facts=dict(record.facts),
    ).SerializeToString()


def decoded(data: bytes) -> Record:
    """A record as it was written, by whomever. Raises: Forged, nobody well-meaning would."""
    try:
        return _decoded(wire.Record.FromString(data))
    except DecodeError as error:
        raise Forged("it cannot be read") from error
    except (ValueError, Refused) as error:
        raise Forged(str(error)) from error


def plain(record: Record) -> bytes:
    """A record as it is told on loopback where nobody has a certificate: signed by nobody."""
    return wire.SignedRecord(record=encoded(record)).SerializeToString()


def read_plain(data: bytes) -> Record:
    """A record that was told on loopback, whoever may have signed it. Raises: Forged."""
    if len(data) > MOST_BYTES:
        raise Forged(f"{len(data)} bytes are too many")
    try:
        return decoded(wire.SignedRecord.FromString(data).record)
    except DecodeError as error:
        raise Forged("it cannot be read") from error


def _decoded(message: wire.Record) -> Record:
    """Raises: ValueError, Refused: a field is not what a well-meaning signer says."""
    if message.address:
        split_address(required(message.address, "address", 300))
    if not math.isfinite(message.until) or len(message.facts) > _MOST_FACTS:
        raise ValueError("its fields are out of all bounds")
    return Record(
        kind=Kind(message.kind),
        run=required(message.run, "run"),
        name=required(message.name, "name"),
        address=message.address,
        number=count(message.number, "number"),
        until=message.until,
        left=message.left,
        facts={
            required(name, "fact"): required(message.facts[name], name) for name in message.facts
        },
    )
