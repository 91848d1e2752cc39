"""``atoll peers``: who of a run is told of, in the DHT and by its orchestrator."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509

from atoll import partitioned, stages
from atoll.blobs import open_store
from atoll.clock import Clock, SystemClock
from atoll.command import ConfigOption, JsonOption, SetOption, say, show
from atoll.config import Config
from atoll.config_file import run_config
from atoll.credentials import CA, OPERATOR, read_certificate
from atoll.errors import AtollError, BadInput
from atoll.join_token import JoinToken
from atoll.revocations import read_revocations
from membership.dht import Dht
from membership.place import Place
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

    Its orchestrator keeps a registry of the servers, too, and is asked where it serves; it alone
    where there are no peers.
    """
    asked, clock = _asked(config, set_, peer or (), join), SystemClock()
    rows: list[dict[str, Any]] = []
    num_refused = 0
    with ExitStack() as stack:
        places: dict[str, Place] = {}
        if asked.peers:
            dht = stack.enter_context(_opened(asked, clock))
            told, num_refused = told_of(dht, asked.run, (Kind.ORCHESTRATOR, Kind.ISLAND))
            rows = [row_of(record, clock.wall(), _DHT) for record in told]
            places[_DHT] = dht
        if asked.uri:
            key = "orchestrator.tls"
            registry = Registry(asked.uri, key, asked.tls, OPERATOR, clock)
            places[_ORCHESTRATOR] = stack.enter_context(registry)
        if asked.model:
            servers, more = _servers(places, asked, clock.wall())
            rows, num_refused = rows + servers, num_refused + more
    if rows or json_:
        show(f"run {asked.run}", rows, as_json=json_)
    else:
        say(f"nobody of run {asked.run} is announced")
    if num_refused:
        say(f"{num_refused} more were not signed by who they are about, or it is over with them")


def _opened(asked: _Asked, clock: Clock) -> Dht:
    assert asked.authority is not None
    try:
        return Dht(asked.peers, asked.authority, clock)
    except ValueError as error:
        raise BadInput(f"--peer: {error}") from error


def told_of(place: Place, run: str, kinds: Iterable[Kind]) -> tuple[list[Record], int]:
    """Who of a run is told of, and how many others there were. Raises: Unreachable."""
    found = [place.find(run, kind) for kind in kinds]
    records = [record for each in found for record in each.records]
    return records, sum(each.num_refused for each in found)


def _servers(
    places: dict[str, Place], asked: _Asked, now: float
) -> tuple[list[dict[str, Any]], int]:
    """A row for each server of experts, with who tells of it."""
    by_name: dict[str, tuple[Record, list[str]]] = {}
    num_refused = 0
    for words, place in places.items():
        try:
            records, more = told_of(place, asked.model, (Kind.EXPERTS,))
        except AtollError as error:
            say(f"{words} tells of no server of experts: {error}")
            continue
        good = [record for record in records if record.by not in asked.revoked]
        num_refused += more + len(records) - len(good)
        for record in good:
            former, by = by_name.get(record.name, (record, []))
            newer = max(former, record, key=lambda each: each.until)
            by_name[record.name] = newer, [*by, words]
    return [row_of(it, now, " and ".join(by)) for it, by in by_name.values()], num_refused


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whom to ask about what; the partition and the orchestrator only by a configuration."""

    peers: Sequence[str]
    run: str
    authority: x509.Certificate | None
    model: str = ""
    uri: str = ""
    tls: str = ""
    revoked: Collection[str] = ()


def _asked(
    config: Path | None, set_: list[str] | None, given: Sequence[str], join: Path | None
) -> _Asked:
    """By a token or a configuration. Raises: BadInput."""
    if join is not None:
        token = JoinToken.read(join)
        asked = _Asked(given, token.identity.run, token.authority)
    else:
        settings = run_config(config, set_ or ())
        peers, tls = given or settings.membership.peers, settings.orchestrator.tls
        if peers:
            certificates_of(settings)  # only what is signed is believed there
        asked = _Asked(
            peers,
            name_of(settings),
            read_certificate(Path(tls) / f"{CA}.crt") if tls else None,
            _model(settings),
            settings.run.uri,
            tls,
            read_revocations(Path(tls)).keys() if tls else (),
        )
    if not asked.peers and not asked.uri:
        raise BadInput("--peer: name somebody to ask; see `atoll peer`")
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
