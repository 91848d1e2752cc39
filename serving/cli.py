"""``atoll serve`` and ``atoll key``."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atoll.command import ConfigOption, SetOption, say
from atoll.errors import BadInput, StageMissing

if TYPE_CHECKING:
    from atoll.config import Config

RunArgument = Annotated[
    str | None, typer.Argument(help="The run's URI; needs nothing else.", show_default=False)
]
WhereOption = Annotated[bool, typer.Option("--json", help="Say in JSON where it is.")]


def serve(
    run: RunArgument = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    json_: WhereOption = False,
) -> None:
    """Serve a trained ensemble: REST as OpenAI's images endpoint, and a web page.

    SIGTERM or Ctrl-C finishes what was accepted first; a second one leaves at once.
    """
    # gRPC would log in its own words, too, what the command says; read when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from atoll import logs
    from serving.signals import Signals

    settings = _settings(run, config, set_)
    signals = Signals()  # before what takes seconds to import
    with signals.starting():
        try:
            from serving.process import serve as process
        except ModuleNotFoundError as error:
            raise BadInput(f"{error.name} is missing; install atoll[serve]") from error

    logs.set_up()

    def opened(addresses: Mapping[str, str]) -> None:
        if json_:
            line = json.dumps({"run": settings.run.uri, **addresses})
        else:
            places = ", ".join(f"{name} {place}" for name, place in addresses.items())
            line = f"serving {settings.run.uri}: {places}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    with _named(settings.run.uri):
        process(settings, opened, signals)


def serve_expert(
    *,
    expert: Annotated[
        list[int], typer.Option(help="Number of an expert. Repeatable.", show_default=False)
    ],
    run: RunArgument = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    json_: WhereOption = False,
) -> None:
    """Serve experts of a run to gateways elsewhere: `atoll serve` with serving.experts.

    SIGTERM or Ctrl-C finishes what was accepted first; a second one leaves at once.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from atoll import logs
    from serving.signals import Signals

    settings = _settings(run, config, set_)
    signals = Signals()  # before what takes seconds to import
    with signals.starting():
        from serving.expert.process import serve_experts

    logs.set_up()
    numbers = sorted(set(expert))

    def opened(address: str) -> None:
        line = f"serving experts {', '.join(map(str, numbers))} of {settings.run.uri}: {address}"
        if json_:
            line = json.dumps({"run": settings.run.uri, "experts": numbers, "grpc": address})
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    with _named(settings.run.uri):
        serve_experts(settings, numbers, opened, signals)


def _settings(run: str | None, config: Path | None, set_: list[str] | None) -> Config:
    """Of the run that an argument or a file names. Raises: BadInput, both do or neither."""
    from atoll.config_file import run_config

    named = [] if run is None else [f"run.uri={json.dumps(run)}"]
    if run is not None:
        _refuse_named_twice(run, config, set_ or ())
        _refuse_unstarted(run)
    return run_config(config, [*named, *(set_ or ())])


@contextlib.contextmanager
def _named(uri: str) -> Iterator[None]:
    """Say of which run a stage is missing."""
    try:
        yield
    except StageMissing as error:
        raise StageMissing(f"{uri}: {error}") from error


def _refuse_named_twice(run: str, config: Path | None, set_: Sequence[str]) -> None:
    if not run:
        raise BadInput('RUN is ""; give the URI of a run, e.g. runs/digits')
    sets = any(each.partition("=")[0].strip() == "run.uri" for each in set_)
    if config is not None or sets:
        other = "--set run.uri" if sets else "--config"
        raise BadInput(f"RUN and {other} both name a run; leave out one of them")


def _refuse_unstarted(uri: str) -> None:
    from atoll import layout, stages
    from atoll.blobs import open_store

    store = open_store(uri)
    if store.exists(layout.CONFIG):
        return
    if stages.find(store, "partition") is None:
        raise BadInput(f"no run was ever started at {uri}; `atoll run` starts one")
    raise BadInput(
        f"the data at {uri} are partitioned, and nothing is trained on them yet; run `atoll train` "
        "and `atoll route` with the file that `atoll partition` was given by --config"
    )


def key(
    file: Annotated[Path, typer.Argument(help="Where its hash is kept; see serving.api_keys.")],
    name: Annotated[str, typer.Argument(help="Of who is to call.")],
) -> None:
    """Make an API key of the service, and write it to standard output.

    It is a secret: the file has but its hash, and nobody can show it again. To shut somebody out,
    delete their line; a serving process heeds that at once.
    """
    from serving.keys import add_key

    sys.stdout.write(f"{add_key(file, name)}\n")
    say(f"the key of {name}, shown this once; {file} has its hash")
