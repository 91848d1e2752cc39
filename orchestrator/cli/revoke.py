"""``atoll revoke``: shuts out whoever's certificate or token was stolen."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from atoll import identity, layout
from atoll.certs import named, refuse_own
from atoll.command import ConfigOption, JsonOption, SetOption, say, show
from atoll.config import Config
from atoll.config_file import run_config
from atoll.credentials import CA
from atoll.errors import AtollError, BadInput, ConfigError
from atoll.identity import Identity, Kind
from atoll.revocations import Revocation, read_revocations
from atoll.revocations import revoke as add_to_list

NamesOption = Annotated[list[str] | None, typer.Option(help="By name. Repeatable.")]


def revoke(
    *,
    operator: NamesOption = None,
    island: NamesOption = None,
    gateway: NamesOption = None,
    server: NamesOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Told wherever it shows.")] = "",
    list_: Annotated[bool, typer.Option("--list", help="Only show who was revoked.")] = False,
    json_: JsonOption = False,
) -> None:
    """Shut out operators, gateways and servers of the lab, or islands of the run, for good.

    A serving orchestrator refuses their calls from then on, and takes the lease an island holds.
    Servers of experts refuse a gateway, and gateways pass over a server, once the folder's
    revoked.json is in theirs, too.
    Names are not given again: who is to come back gets another.
    """
    from orchestrator.naming import name_of
    from orchestrator.rpc.security import certificates_of

    settings = run_config(config, set_ or ())
    tls = certificates_of(settings)
    if not tls.is_dir():
        raise ConfigError(f"orchestrator.tls: {tls} is no folder; `atoll certs {tls}` makes one")
    if not (tls / f"{CA}.key").exists():
        raise ConfigError(
            f"orchestrator.tls: {tls} holds no {CA}.key, so no orchestrator goes by it; revoke in "
            "the folder that does, beside the orchestrator"
        )
    run = ""
    if island:
        state = layout.state_folder(settings.run.uri)
        if not state.is_dir():
            raise BadInput(
                f"--island: {settings.run.uri} was never served from here; name the run whose "
                "islands are meant by --config, on the machine of its orchestrator"
            )
        run = name_of(settings)
    refuse_own(operator or (), "operator", "gives commands in this very folder")
    refuse_own(server or (), "server", "serves from this very folder")
    whom: list[Identity] = []
    for make, names in (
        (identity.operator, operator),
        (identity.gateway, gateway),
        (identity.server, server),
    ):
        whom += named(make, names or ())
    whom += named(functools.partial(identity.island, run), island or (), "island")
    if not list_ and not whom:
        raise BadInput(
            "whom? give --operator, --island, --gateway or --server with a NAME; --list shows who "
            "was revoked"
        )
    if list_ and whom:
        raise BadInput("--list only shows who was revoked; leave out the names, or --list")
    try:
        entries = add_to_list(tls, whom, reason, time.time()) if whom else read_revocations(tls)
    except OSError as error:
        raise BadInput(f"{tls} cannot be written: {error.strerror}") from error
    for name in _never_seen(settings, tls, whom):
        say(f"nobody called {name} was seen here; they are shut out all the same")
    for names, others in ((gateway, "servers of experts"), (server, "gateways")):
        if names:
            say(f"{others} heed it once revoked.json of {tls} is in their own folders")
    title = f"revoked in {tls}; a serving orchestrator heeds it at once"
    show(title, [_row(entry, as_json=json_) for entry in entries.values()], as_json=json_)


def _never_seen(config: Config, tls: Path, whom: Sequence[Identity]) -> list[str]:
    """Names that may be slips of the pen."""
    from orchestrator.connect import attach

    islands: set[str] | None = None
    if any(who.kind is Kind.ISLAND for who in whom):
        try:
            client = attach(config)
        except AtollError:
            client = None
        if client is not None:
            with client:
                islands = {island.name for island in client.fleet().islands}
    return [
        str(who)
        for who in whom
        if (who.is_of_lab and not (tls / f"{who.kind}s" / who.name).exists())
        or (who.kind is Kind.ISLAND and islands is not None and who.name not in islands)
    ]


def _row(entry: Revocation, *, as_json: bool) -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at))
    return {
        "who": str(entry.who),
        "run": entry.who.run if entry.who.kind is Kind.ISLAND else None,
        "since": entry.at if as_json else since,
        "why": entry.why or None,
    }
