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
        str | None,
        typer.Option(help="Ask this one whether it takes an island, and list its known troubles."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Look at this machine, the installation, and what the configuration asks of them."""
    if provider is not None:
        name = next((each for each in get_args(ProviderName) if each == provider), None)
        if name is None:
            known = ", ".join(get_args(ProviderName))
            raise BadInput(f"--provider: {provider!r} is not known; there are {known}")
        settings = run_config(config, set_ or ())
        if name not in settings.island.shares:
            settings = run_config(config, [*(set_ or ()), f'island.provider="{name}"'])
        findings = _asked(name, settings)
        troubles = troubles_of(name)
        title = f"What {name} says"
    else:
        findings, troubles = examine(config, set_ or ()), []
        title = "What this machine can do"
    if json_:
        print_json({"findings": findings, "troubles": troubles})
    else:
        show(title, findings, as_json=False)
        _list(f"Known troubles of {provider}", troubles)
    if any(each["verdict"] == "missing" for each in findings):
        raise typer.Exit(1)


def troubles_of(provider: str) -> list[dict[str, str]]:
    """What is known to go wrong with a provider: symptom, cause and mend, as its page has them."""
    text = (Path(__file__).parent / "troubles" / f"{provider}.md").read_text(encoding="utf-8")
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|\n").split(" | ")] for line in text.splitlines()
    )
    return [dict(zip(head, row, strict=True)) for row in rows]


def _list(title: str, troubles: list[dict[str, str]]) -> None:
    """One below the other: three columns of sentences would leave each no room on a terminal."""
    from rich.console import Console  # noqa: PLC0415 - a JSON reader does not wait for it
    from rich.markup import escape  # noqa: PLC0415
    from rich.padding import Padding  # noqa: PLC0415

    console = Console(highlight=False)
    if troubles:
        console.print(f"[italic]{title}[/]")
    for trouble in troubles:
        symptom, cause, mend = (escape(words) for words in trouble.values())
        console.print(Padding(f"[bold]{symptom}[/]", (1, 0, 0, 1)))
        console.print(Padding(f"because {cause}", (0, 0, 0, 3)))
        console.print(Padding(f"mend    {mend}", (0, 0, 0, 3)))


def _asked(name: ProviderName, config: Config) -> list[Finding]:
    """Whether it would take an island of the run; it tests the request, and starts nothing."""
    from cluster.demands import refuse_unheard  # noqa: PLC0415 - else not needed
    from cluster.provider import NodeSpec  # noqa: PLC0415
    from cluster.providers import bare  # noqa: PLC0415

    folder, island = layout.state_folder(config.run.uri) / "islands", config.island
    num_gpus = island.processes if island.device == "cuda" else 0
    spec = NodeSpec(
        _ISLAND,
        _ISLAND,
        (),
        num_gpus,
        num_nodes=island.nodes,
        min_nodes=island.fewest_nodes,
    )
    try:
        provider: Any = bare(name, config, _ISLAND, folder)
        provider.validate(spec)
        able = provider.capabilities()
        refuse_unheard(config, able)
    except (ConfigError, IslandError) as error:
        return [finding(name, "missing", str(error), "one of its known troubles, perhaps")]
    most = able.num_nodes
    rooms = "as many as it has room for" if most is None else f"{most // island.nodes} at once"
    where = "on other machines" if able.elsewhere else "on this machine"
    return [finding(name, "ok", f"takes islands {where}, {rooms}")]
