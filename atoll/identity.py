"""Who somebody on the wire is: a name that stands in a certificate, as a URI."""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass
from typing import Self

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_URI = re.compile(
    rf"atoll://({_NAME})/(island|operator|gateway|server|join)/({_NAME}|\*)(?:/({_NAME}))?"
)
_EVERY_RUN = "lab"  # operators, gateways and servers are of the whole lab; an island is of one run
_ANY = "*"
OWN = "local"  # who gives commands, or serves, from the folder with the authority's own key


class Kind(enum.StrEnum):
    """What somebody may do: see :mod:`orchestrator.rpc.access`."""

    ISLAND = "island"
    OPERATOR = "operator"
    GATEWAY = "gateway"  # who serves images by experts elsewhere: see :mod:`serving.expert`
    SERVER = "server"  # who is called by others, and tells the orchestrator where
    JOIN = "join"  # who may become an island


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, as the private authority vouches for.

    Attributes:
        kind: what they may do.
        run: name of the run an island, or a join token, is for; that of all others is the same.
        name: of the island, the operator, the gateway or the server. A token's is that of the one
            island it is for, or ``*`` for any that nobody has been yet.
        node: which node of the island; "" where it has but one.
    """

    kind: Kind
    run: str
    name: str
    node: str = ""

    def __post_init__(self) -> None:
        found = _URI.fullmatch(self.uri)
        if found is None or not _is_sound(found) or found[3] != self.name:
            raise ValueError(
                f"{self.full_name!r} is no name; use up to 63 letters, digits, dots, dashes and "
                "underscores, the first a letter or a digit"
            )

    def __str__(self) -> str:
        if self.kind is Kind.JOIN:
            return "a join token" if self.name == _ANY else f"the join token of {self.name}"
        return f"{self.kind} {self.name}" if self.is_of_lab else self.full_name

    @property
    def is_of_lab(self) -> bool:
        """Whether it is of no run alone."""
        return self.kind in {Kind.OPERATOR, Kind.GATEWAY, Kind.SERVER}

    @property
    def full_name(self) -> str:
        """With the node, where there is one."""
        return f"{self.name}/{self.node}" if self.node else self.name

    @property
    def island(self) -> str:
        """The one island that a join token, or an island itself, may be; "" if that is open."""
        return "" if self.is_of_lab or self.name == _ANY else self.name

    @property
    def uri(self) -> str:
        """As it stands in a certificate."""
        return f"atoll://{self.run}/{self.kind}/{self.full_name}"

    def shut_out_as(self, island: str) -> set[str]:
        """Under which URIs somebody who speaks for an island may have been revoked.

        A join token goes with the island it is for, or is asked to make.
        """
        if self.is_of_lab:
            return {self.uri}
        return {f"atoll://{self.run}/{Kind.ISLAND}/{name}" for name in (self.name, island)}

    @classmethod
    def parse(cls, uri: str) -> Self | None:
        """Who a URI means; None if it is not one of these."""
        found = _URI.fullmatch(uri)
        if found is None or not _is_sound(found):
            return None
        return cls(Kind(found[2]), found[1], found[3], found[4] or "")

    def may_be(self, island: str, node: str = "") -> bool:
        """Whether a token, or an island, may be, or stay, the island of this name, or its node."""
        if self.kind is Kind.ISLAND and node != self.node:
            return False
        if self.kind is Kind.JOIN and re.fullmatch(rf"{re.escape(self.name)}\.\d+", island):
            return True  # started once more on another node, with the same token
        return not self.is_of_lab and self.name in {island, _ANY}


def _is_sound(found: re.Match[str]) -> bool:
    """Whether a URI means anybody: only tokens are for any name, and only islands have nodes."""
    _, kind, name, node = found.groups()
    return (name != _ANY or kind == Kind.JOIN) and (node is None or kind == Kind.ISLAND)


def operator(name: str) -> Identity:
    """An operator of the lab. Raises: ValueError for what is no name."""
    return Identity(Kind.OPERATOR, _EVERY_RUN, name)


def gateway(name: str) -> Identity:
    """A gateway of the lab. Raises: ValueError for what is no name."""
    return Identity(Kind.GATEWAY, _EVERY_RUN, name)


def server(host: str) -> Identity:
    """A server of the lab, by its host. Raises: ValueError for what is no name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return Identity(Kind.SERVER, _EVERY_RUN, host)
    # Names hold no colons, and one address is written in many ways.
    return Identity(Kind.SERVER, _EVERY_RUN, address.exploded.replace(":", "-"))


def island(run: str, name: str, node: str = "") -> Identity:
    """An island of a run, or a node of it. Raises: ValueError for what is no name."""
    return Identity(Kind.ISLAND, run, name, node)


def joining(run: str, name: str = "") -> Identity:
    """Who may become the island of this name, or any if "". Raises: ValueError."""
    return Identity(Kind.JOIN, run, name or _ANY)
