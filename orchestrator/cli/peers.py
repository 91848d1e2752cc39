"""``atoll peers``: who of a run is told of, in the DHT and by its orchestrator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509

from atoll import partitioned, stages
from atoll.blobs import open_store
from atoll.clock import SystemClock
from atoll.command import ConfigOption, JsonOption, SetOption, say, show
from atoll.config import Config
from atoll.config_file import run_config
from atoll.credentials import CA, OPERATOR, read_certificate
from atoll.errors import AtollError, BadInput
from atoll.join_token import JoinToken
from atoll.revocations import Revocations
from membership.dht import Dht
from membership.place import Place, Revoked
from membership.record import Kind, Record
from membership.registry import Registry
from membership.servers import ServerFacts, model_of
from orchestrator.naming import name_of
from orchestrator.rpc.security import certificates_of

_DHT, _ORCHESTRATOR = "the DHT", "the orchestrator"


def peers(
    config: ConfigOption = None,
    set_: SetOption = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Whom to ask, in place of membership.peers. Repeatable."),
    ] = None,
    join: Annotated[
        Path | None,
        typer.Option(help="A join token of the run, where its configuration is not at hand."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Show who of a run is told of in its DHT: orchestrators, islands, servers of experts.

    Its orchestrator keeps a registry of the servers, too, and is asked where it serves.
    """
    asked = _asked(config, set_, peer or (), join)
    clock = SystemClock()
    with ExitStack() as stack:
        try:
            dht = stack.enter_context(Dht(asked.peers, asked.authority, clock, asked.revoked))
        except ValueError as error:
            raise BadInput(f"--peer: {error}") from error
        told, num_refused = told_of(dht, asked.run, (Kind.ORCHESTRATOR, Kind.ISLAND))
        rows = [row_of(record, clock.wall(), _DHT) for record in told]
        if asked.model:
            places: dict[str, Place] = {_DHT: dht}
            if asked.uri:
                key = "orchestrator.tls"
                registry = Registry(asked.uri, key, asked.tls, OPERATOR, clock, asked.revoked)
                places[_ORCHESTRATOR] = stack.enter_context(registry)
            servers, more = _servers(places, asked.model, clock.wall())
            rows, num_refused = rows + servers, num_refused + more
    if rows or json_:
        show(f"run {asked.run}", rows, as_json=json_)
    else:
        say(f"nobody of run {asked.run} is announced")
    if num_refused:
        say(f"{num_refused} more were not signed by who they are about, or have ended")


def told_of(place: Place, run: str, kinds: Iterable[Kind]) -> tuple[list[Record], int]:
    """Who of a run is told of, and how many others there were. Raises: Unreachable."""
    found = [place.find(run, kind) for kind in kinds]
    records = [record for each in found for record in each.records]
    return records, sum(each.num_refused for each in found)


def _servers(places: dict[str, Place], model: str, now: float) -> tuple[list[dict[str, Any]], int]:
    """A row for each server of experts, with who tells of it."""
    by_name: dict[str, tuple[Record, list[str]]] = {}
    num_refused = 0
    for words, place in places.items():
        try:
            records, more = told_of(place, model, (Kind.EXPERTS,))
        except AtollError as error:
            say(f"{words} tells of no server of experts: {error}")
            continue
        num_refused += more
        for record in records:
            former, by = by_name.get(record.name, (record, []))
            newer = max(former, record, key=lambda each: each.until)
            by_name[record.name] = newer, [*by, words]
    return [row_of(it, now, " and ".join(by)) for it, by in by_name.values()], num_refused


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whom to ask about what; the partition and the orchestrator only by a configuration."""

    peers: Sequence[str]
    run: str
    authority: x509.Certificate
    model: str = ""
    uri: str = ""
    tls: str = ""
    revoked: Revoked = tuple


def _asked(
    config: Path | None, set_: list[str] | None, given: Sequence[str], join: Path | None
) -> _Asked:
    """By a token or a configuration. Raises: BadInput."""
    if join is not None:
        token = JoinToken.read(join)
        asked = _Asked(given, token.identity.run, token.authority)
    else:
        settings = run_config(config, set_ or ())
        tls = certificates_of(settings)
        known = Revocations(tls).known
        asked = _Asked(
            given or settings.membership.peers,
            name_of(settings),
            read_certificate(tls / f"{CA}.crt"),
            _model(settings),
            settings.run.uri,
            str(tls),
            lambda: known().keys(),
        )
    if not asked.peers:
        raise BadInput("--peer: name somebody to ask, or set membership.peers; see `atoll peer`")
    return asked


def _model(config: Config) -> str:
    """Under which name servers of its experts are told of; "" before there is a partition."""
    made = stages.find(open_store(config.run.uri), partitioned.STAGE)
    return model_of(made["digest"]) if made else ""


def row_of(record: Record, now: float, told_by: str) -> dict[str, Any]:
    """A record for a program."""
    works_on = record.facts.get("job")
    if record.kind is Kind.EXPERTS:
        works_on = ", ".join(f"expert {k}" for k in ServerFacts.read(record.facts).experts)
    return {
        "name": record.name,
        "is": record.kind,
        "address": record.address or None,
        "works_on": works_on,
        "lasts_s": round(record.until - now),
        "told_by": told_by,
    }
