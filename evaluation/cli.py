"""``atoll evaluate`` and ``atoll report``."""

from __future__ import annotations

from typing import Any

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, print_json, progress_bars, say, show
from atoll.config import Config
from atoll.config_file import run_config


def evaluate(
    config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False
) -> None:
    """Judge every selection strategy against the real images, the monolith and the oracle."""
    from atoll import layout
    from evaluation.stage import find_evaluation, run_evaluate

    settings = run_config(config, set_ or ())
    found = find_evaluation(settings)
    if found is not None:
        say(f"already evaluated: {settings.run.uri} holds it; nothing to do")
        results = found
    else:
        with progress_bars() as progress:
            results = run_evaluate(settings, progress)
    num = settings.evaluation.num_samples
    title = f"{num:,} images each against {results['reference']['num_samples']:,} real ones"
    if json_:
        print_json([_flat(row) for row in results["rows"]])
    else:
        show(title, [_short(row) for row in results["rows"]], as_json=False)
    say(f"figures with their recipes: {_address(settings, layout.EVALUATION)}")


def report(config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Write the HTML report into the run and print where it is."""
    from evaluation.report import write_report

    settings = run_config(config, set_ or ())
    address = _address(settings, write_report(settings))
    if json_:
        print_json({"report": address})
    else:
        typer.echo(address)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row for programs: every figure, by its name in the results."""
    unknown = dict.fromkeys(("gflops_per_image", "experts_per_step", "usage", "seconds"))
    return {"strategy": row["name"], **row["scores"], **(row["cost"] or unknown)}


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A row for people: what fits a terminal."""
    flat = _flat(row)
    shares = {
        head: round(flat[name], 3)
        for head, name in {
            "prec": "precision",
            "rec": "recall",
            "dens": "density",
            "cov": "coverage",
        }.items()
    }
    return {
        "strategy": row["name"],
        "FD": round(flat["frechet"], 3),
        "KID‰": round(1000 * flat["kid"], 2),
        **shares,
        "GFLOPs": flat["gflops_per_image"],
        "experts": flat["experts_per_step"],
    }


def _address(settings: Config, key: str) -> str:
    return f"{settings.run.uri.rstrip('/')}/{key}"
