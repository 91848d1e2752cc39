"""``atoll evaluate`` and ``atoll report``."""

from __future__ import annotations

from typing import Any

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, print_json, say, show
from atoll.config import Config
from atoll.config_file import read_config


def evaluate(
    config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False
) -> None:
    """Judge every selection strategy against the real images, the monolith and the oracle."""
    from atoll import layout
    from evaluation.stage import find_evaluation

    settings = read_config(config, set_ or ())
    found = find_evaluation(settings)
    if found is not None:
        say(f"already evaluated: {settings.run.uri} holds it; nothing to do")
    results = found or _run(settings)
    num = settings.evaluation.num_samples
    title = f"{num:,} images each against {results['reference']['num_samples']:,} real ones"
    show(title, [_line(row) for row in results["rows"]], as_json=json_)
    say(f"figures with their recipes: {_address(settings, layout.EVALUATION)}")


def report(config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Write the HTML report into the run and print where it is."""
    from evaluation.report import write_report

    settings = read_config(config, set_ or ())
    address = _address(settings, write_report(settings))
    if json_:
        print_json({"report": address})
    else:
        typer.echo(address)


def _run(settings: Config) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from evaluation.stage import run_evaluate

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def progress(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = bars.add_task(doing, total=total)
            bars.update(tasks[doing], completed=done)

        return run_evaluate(settings, progress)


def _line(row: dict[str, Any]) -> dict[str, Any]:
    scores, cost = row["scores"], row["cost"] or {}
    return {
        "strategy": row["name"],
        "FD": scores["frechet"],
        "KID": scores["kid"],
        "precision": scores["precision"],
        "recall": scores["recall"],
        "density": scores["density"],
        "coverage": scores["coverage"],
        "GFLOPs/image": cost.get("gflops_per_image"),
        "experts/step": cost.get("experts_per_step"),
        "seconds": cost.get("seconds"),
    }


def _address(settings: Config, key: str) -> str:
    return f"{settings.run.uri.rstrip('/')}/{key}"
