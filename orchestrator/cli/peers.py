"""``atoll peers``: who of a run is told of in the DHT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509

from atoll.clock import SystemClock
from atoll.command import ConfigOption, JsonOption, SetOption, say, show
from atoll.config_file import run_config
from atoll.credentials import CA, read_certificate
from atoll.errors import BadInput
from atoll.join_token import JoinToken
from membership.dht import Dht
from membership.record import Kind, Record
from orchestrator.naming import name_of
from orchestrator.rpc.security import certificates_of


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
    """Show which orchestrators and islands of a run are told of in its DHT, by whoever lives."""
    addresses, run, authority = _asked(config, set_, peer or (), join)
    try:
        dht = Dht(addresses, authority, SystemClock())
    except ValueError as error:
        raise BadInput(f"--peer: {error}") from error
    with dht:
        rows, num_refused = told_of(dht, run)
    if rows or json_:
        show(f"run {run}", rows, as_json=json_)
    else:
        say(f"no orchestrator and no island of run {run} is announced")
    if num_refused:
        say(f"{num_refused} more were not signed by who they are about, or have ended")


def told_of(dht: Dht, run: str) -> tuple[list[dict[str, Any]], int]:
    """A row for each who is told of, and how many others there were. Raises: Unreachable."""
    rows, num_refused, now = [], 0, SystemClock().wall()
    for kind in Kind:
        found = dht.find(run, kind)
        rows += [_row(record, now) for record in found.records]
        num_refused += found.num_refused
    return rows, num_refused


def _asked(
    config: Path | None, set_: list[str] | None, given: Sequence[str], join: Path | None
) -> tuple[Sequence[str], str, x509.Certificate]:
    """Peers, run and authority, by a token or a configuration. Raises: BadInput."""
    if join is not None:
        token = JoinToken.read(join)
        addresses, run, authority = given, token.identity.run, token.authority
    else:
        settings = run_config(config, set_ or ())
        authority = read_certificate(certificates_of(settings) / f"{CA}.crt")
        addresses, run = given or settings.membership.peers, name_of(settings)
    if not addresses:
        raise BadInput("--peer: name somebody to ask, or set membership.peers; see `atoll peer`")
    return addresses, run, authority


def _row(record: Record, now: float) -> dict[str, Any]:
    return {
        "name": record.name,
        "is": record.kind,
        "address": record.address or None,
        "works_on": record.facts.get("job"),
        "lasts_s": round(record.until - now),
    }
