"""A whole plan: what each of its parts says of one run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atoll.budget_section import BudgetSection
from atoll.config import Config
from orchestrator.planning.grounds import grounds
from orchestrator.planning.hardware import peak_flops
from orchestrator.planning.layout import Fit, Wish, fit
from orchestrator.planning.means import ASSUMED_MFU, Means
from orchestrator.planning.prices import Price
from orchestrator.planning.spot import Spot, simulate_spot
from orchestrator.planning.subject import Subject
from orchestrator.planning.volume import Volume, volumes
from orchestrator.planning.work import Pace, Part, days_of, parts_of


@dataclass(frozen=True, slots=True)
class Planned:
    """One kind of job: how it fits an island, and how long one takes."""

    part: Part
    fit: Fit
    hours: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What all jobs together cost, at one price; None where there is none.

    Attributes:
        price: of a node for an hour.
        on_demand: for the hours of the work.
        spot: the same, longer by what reclaims take where they were simulated.
    """

    price: Price
    on_demand: float
    spot: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is foretold of a run.

    Attributes:
        days: from the first step to the last, on as many islands as the run has, undisturbed.
        node_hours: of all jobs, on all nodes of their islands.
        assumed: sentences; what the numbers rest on.
        over: sentences; which limits of ``[budget]`` are too low for it.
    """

    planned: tuple[Planned, ...]
    days: float
    node_hours: float
    volumes: tuple[Volume, ...]
    spot: Spot | None
    costs: tuple[Cost, ...]
    assumed: tuple[str, ...]
    over: tuple[str, ...]


def plan_run(
    config: Config, subject: Subject, means: Means, prices: tuple[Price, ...] = ()
) -> Plan:
    """Plan a run.

    Args:
        config: of the run.
        subject: its networks and data.
        means: with what it is trained.
        prices: of nodes as its islands are; without any, ``island.price_per_hour`` if it is set.

    Raises:
        BadInput: it cannot be trained so; names the key.
    """
    precision, mfu = config.training.precision, means.mfu or ASSUMED_MFU
    pace = Pace(means.island_gpus, peak_flops(means.gpu, precision), mfu, means.recompute)
    parts = parts_of(config, subject, monolith=config.evaluation.monolith)
    step_s = {part.name: pace.seconds(part.step_flops) for part in parts}
    step_s |= {name: each.step_s for name, each in means.paces.items()}
    planned = tuple(_planned(config, part, means, step_s[part.name]) for part in parts)
    node_hours = means.nodes * sum(each.part.count * each.hours for each in planned)
    spot = None
    if means.lifetime_h is not None:
        expert_s = step_s[parts[0].name]
        spot = simulate_spot(config, parts[0], expert_s, means.lifetime_h, means.bytes_per_s)
    prices = prices or tuple(_own_prices(config, means, is_spot=spot is not None))
    costs = tuple(_cost(price, node_hours, spot) for price in prices)
    return Plan(
        planned=planned,
        days=days_of(parts, step_s, config.island.count),
        node_hours=node_hours,
        volumes=volumes(config, parts, subject.data_bytes),
        spot=spot,
        costs=costs,
        assumed=(*subject.assumed, *grounds(config, means, spot, prices)),
        over=tuple(_over(config.budget, node_hours, costs)),
    )


def _over(budget: BudgetSection, node_hours: float, costs: Sequence[Cost]) -> Iterator[str]:
    if budget.node_hours and node_hours > budget.node_hours:
        yield f"budget.node_hours = {budget.node_hours:g} is too low: this takes {node_hours:,.4g}"
    cheapest = min(costs, key=lambda cost: cost.on_demand, default=None)
    if budget.cost and cheapest is not None and cheapest.on_demand > budget.cost:
        words = f"this costs {cheapest.on_demand:,.4g} at {cheapest.price.provider}"
        yield f"budget.cost = {budget.cost:g} is too low: {words}"


def _own_prices(config: Config, means: Means, *, is_spot: bool) -> Iterator[Price]:
    """Those of the configuration, for each provider that islands are asked of."""
    several = len(config.island.prices) > 1
    for name, price in config.island.prices.items():
        if price:
            yield Price(
                provider=f"island.price_per_hour{f'.{name}' if several else ''}",
                gpu=means.gpu.name,
                gpus=means.num_gpus,
                on_demand=price,
                spot=price if is_spot else None,
                currency="yours",
            )


def _planned(config: Config, part: Part, means: Means, step_s: float) -> Planned:
    asked, *others = config.island.parallel
    own = part.name == "router" or not (asked.ways or others)
    wish = Wish(
        network=part.network,
        name=part.name,
        batch=part.batch,
        accumulation=config.training.accumulation,
        precision=config.training.precision,
        recompute=means.recompute,
        num_averages=part.num_averages,
        given=None if own else asked,
        asker="the first [[island.parallel]]" if others else "[island.parallel]",
    )
    found = fit(wish, means.gpu, means.island_gpus)
    return Planned(part, found, part.steps * step_s / 3600)


def _cost(price: Price, node_hours: float, spot: Spot | None) -> Cost:
    on_demand = node_hours * price.on_demand
    if not math.isfinite(on_demand):
        raise OverflowError
    if price.spot is None or (spot is not None and not spot.done):
        return Cost(price, on_demand, None)
    lasting = 1.0 if spot is None else spot.overhead
    return Cost(price, on_demand, node_hours * lasting * price.spot)
