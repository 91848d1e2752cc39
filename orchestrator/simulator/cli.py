"""``atoll simulate``."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, print_json, say, show
from atoll.config_file import read_config

_MOST = 100_000  # islands; each takes some kilobytes, and each of its days some milliseconds


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to count with")
    return value


_number = functools.partial(typer.Option, callback=_finite)


def simulate(
    config: ConfigOption = None,
    set_: SetOption = None,
    *,
    islands: Annotated[
        list[int] | None,
        typer.Option(
            "--islands",
            "-n",
            min=1,
            max=_MOST,
            help="How many. Repeatable.",
            show_default="8 64 1000 10000",
        ),
    ] = None,
    step_s: Annotated[float, _number(min=1e-6, help="Seconds of one optimizer step.")] = 0.5,
    lifetime_h: Annotated[
        float, _number(min=0.01, help="Mean hours until a spot node is reclaimed.")
    ] = 24.0,
    crashes_per_day: Annotated[float, _number(min=0, help="Of a node's trainer.")] = 0.02,
    cuts_per_day: Annotated[float, _number(min=0, help="Network cuts of a node.")] = 0.1,
    cut_s: Annotated[float, _number(min=0.001, help="Mean length of a cut.")] = 60.0,
    zones: Annotated[int, typer.Option(min=1, help="Zones the nodes are spread over.")] = 3,
    outages_per_month: Annotated[float, _number(min=0, help="Of a zone, 30 days.")] = 0.1,
    outage_h: Annotated[float, _number(min=0.001, help="Mean length of an outage.")] = 2.0,
    slow_share: Annotated[float, _number(min=0, max=1, help="Share of slow nodes.")] = 0.02,
    slow_speed: Annotated[float, _number(min=0.01, max=1, help="Their speed.")] = 0.5,
    checkpoint_gb: Annotated[float, _number(min=0, help="Size of a checkpoint.")] = 10.0,
    mb_per_s: Annotated[
        float, _number(min=0.001, help="A node's bandwidth for checkpoints.")
    ] = 100.0,
    provision_s: Annotated[float, _number(min=0, help="From asking for a node to it.")] = 300,
    start_s: Annotated[float, _number(min=0, help="From a lease to the first step.")] = 60.0,
    price: Annotated[float, _number(min=0, help="Of a node for an hour.")] = 1.0,
    max_days: Annotated[float, _number(min=0.01, help="Stop the clock then.")] = 100.0,
    json_: JsonOption = False,
) -> None:
    """Foretell a run on spot nodes: when done, at what cost, how much work lost.

    The orchestrator's own decisions under a virtual clock, beside a synchronous run on the same
    nodes under the same faults. Steps, checkpoints, leases and back-off are the configuration's,
    and so is the seed: equal seeds give equal answers.
    """
    from orchestrator.fleet.state import Policy
    from orchestrator.simulator.islands import Islands
    from orchestrator.simulator.synchronous import Synchronous
    from orchestrator.simulator.world import World

    settings = read_config(config, set_ or ())
    training, island = settings.training, settings.island
    policy = Policy(
        island.lease_s,
        island.max_failures,
        island.backoff_s,
        island.max_losses,
        island.max_preemptions,
    )
    answers = []
    for num_islands in islands or (8, 64, 1000, 10_000):
        world = World(
            num_islands=num_islands,
            steps=training.steps,
            checkpoint_every_steps=training.checkpoint_every_steps,
            step_s=step_s,
            lifetime_s=lifetime_h * 3600,
            crashes_per_day=crashes_per_day,
            cuts_per_day=cuts_per_day,
            cut_s=cut_s,
            num_zones=zones,
            outages_per_day=outages_per_month / 30,
            outage_s=outage_h * 3600,
            slow_share=slow_share,
            slow_speed=slow_speed,
            checkpoint_bytes=checkpoint_gb * 1e9,
            bandwidth_bytes_per_s=mb_per_s * 1e6,
            provision_s=provision_s,
            start_s=start_s,
            price_per_h=price,
            orphan_s=island.orphan_s,
            max_s=max_days * 86400,
            policy=policy,
            max_tries=island.max_failures,
        )
        for kind, model in (("islands", Islands), ("in step", Synchronous)):
            found = model(world, settings.run.seed).run().summary(world)
            answers.append({"nodes": num_islands, "kind": kind, **found})
    if json_:
        print_json(answers)
        return
    days = training.steps * step_s / 86400
    show(f"{days:.3g} days of work for each node", [_row(it) for it in answers], as_json=False)
    if any(not answer["done"] for answer in answers):
        say(f"a run without days was not done after {max_days:g} days, or was given up")


def _row(answer: dict[str, Any]) -> dict[str, Any]:
    """For people: shares in per cent; no days for what never ends."""
    return {
        "nodes": answer["nodes"],
        "run": answer["kind"],
        "days": answer["days"] if answer["done"] else math.nan,
        "cost": answer["cost"],
        "done": f"{answer['progress']:.0%}",
        "lost": None if answer["work_lost"] is None else f"{answer['work_lost']:.1%}",
        "goodput": f"{answer['goodput']:.0%}",
        "recoveries": sum(answer["recoveries"].values()),
    }
