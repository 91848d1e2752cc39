"""``atoll doctor``: what this machine can do, or whether a provider takes islands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from atoll import layout
from atoll.command import ConfigOption, JsonOption, SetOption, print_json, show
from atoll.config import Config
from atoll.config_file import run_config
from atoll.doctor import Finding, examine, finding
from atoll.errors import BadInput, ConfigError, IslandError
from atoll.island_section import ProviderName

_ISLAND = "doctor"


def doctor(
    config: ConfigOption = None,
    set_: SetOption = None,
    provider: Annotated[
        str,
        typer.Option(help="Ask this one whether it takes an island, and list its known troubles."),
    ] = "",
    json_: JsonOption = False,
) -> None:
    """Look at this machine, the installation, and what the configuration asks of them."""
    if provider:
        name = next((each for each in get_args(ProviderName) if each == provider), None)
        if name is None:
            known = ", ".join(get_args(ProviderName))
            raise BadInput(f"--provider: {provider!r} is not known; there are {known}")
        findings = _asked(name, run_config(config, set_ or ()))
        troubles = troubles_of(name)
        if json_:
            print_json({"findings": findings, "troubles": troubles})
        else:
            show(f"What {name} says", findings, as_json=False)
            show(f"Known troubles of {name}", troubles, as_json=False)
    else:
        findings = examine(config, set_ or ())
        show("What this machine can do", findings, as_json=json_)
    if any(each["verdict"] == "missing" for each in findings):
        raise typer.Exit(1)


def troubles_of(provider: str) -> list[dict[str, str]]:
    """What is known to go wrong with a provider: symptom, cause and mend, as its page has them."""
    text = (Path(__file__).parent / "troubles" / f"{provider}.md").read_text(encoding="utf-8")
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|\n").split(" | ")] for line in text.splitlines()
    )
    return [dict(zip(head, row, strict=True)) for row in rows]


def _asked(name: ProviderName, config: Config) -> list[Finding]:
    """Whether it would take an island of the run; it tests the request, and starts nothing."""
    from cluster.provider import NodeSpec  # noqa: PLC0415 - a look at the machine does without
    from cluster.providers import bare  # noqa: PLC0415

    folder = layout.state_folder(config.run.uri) / "islands"
    num_gpus = config.island.processes if config.island.device == "cuda" else 0
    try:
        provider: Any = bare(name, config, _ISLAND, folder)
        provider.validate(NodeSpec(_ISLAND, _ISLAND, (), num_gpus))
    except (ConfigError, IslandError) as error:
        return [finding(name, "missing", str(error), "see below")]
    able = provider.capabilities()
    rooms = "as many as it has room for" if able.num_nodes is None else f"{able.num_nodes} at once"
    where = "on other machines" if able.elsewhere else "on this machine"
    return [finding(name, "ok", f"takes islands {where}, {rooms}")]
