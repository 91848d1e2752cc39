"""How soon each training recipe gets to good images, at equal training FLOPs.

    python benchmarks/convergence.py configs/mnist.toml --seeds 3 --set data.path=mnist.npz

One network learns the whole data set by each recipe of benchmarks/recipes.toml, and its images are
measured at every checkpoint. A recipe whose learning rate follows the length of the training is
trained anew for each length. Baseline: the recipe `plain`. What was measured is kept in --out, so
that the command goes on where it was stopped. Prints a table on standard error and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tomllib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from trials import Point, judge, settings_of_judge, trial

from atoll.config_file import read_config
from evaluation.themed import INK, MUTED, PAPER, RULE, drawing, series
from partition.stage import run_partition

PLAIN = "plain"
_NAMED = 5  # recipes in the picture, besides plain; the others are grey
_TALL = 1.5  # the picture, as a part of the plain recipe's first distance
_AVERAGED = 5  # checkpoints that the first average of another length is made of
RECIPES = Path(__file__).parent / "recipes.toml"


def lengths_of(recipe: dict[str, Any], steps: list[int]) -> list[int]:
    """The trainings that a recipe takes to be measured after each number of steps."""
    fixed = recipe["training"].get("schedule", "constant") == "constant"
    return steps[-1:] if fixed else steps


def training_of(
    base: dict[str, Any], over: dict[str, Any], length: int, steps: list[int]
) -> dict[str, Any]:
    """Settings of a training by a recipe, with checkpoints to be measured and averaged at."""
    recipe = merged(base, over)
    every = steps[0] if length == steps[-1] else length
    if "ema_length" in recipe.get("sampling", {}):
        every = steps[0] // _AVERAGED
    own = {"steps": length, "checkpoint_every_steps": every, "board": "none"}
    return merged(recipe, {"training": own})


def first_of(
    recipe: dict[str, Any], base: dict[str, Any], recipes: dict[str, Any], steps: list[int]
) -> dict[str, Any] | None:
    """Settings of the training whose curve refines a schedule: by another recipe, as long."""
    training = recipe["training"]
    if training.get("schedule") != "refined":
        return None
    over = merged(recipes[training["refined_from"]], {"training": {"log_every_steps": 1}})
    return training_of(base, over, training["steps"], steps)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Settings by section, with some of them replaced."""
    return {name: {**base.get(name, {}), **over.get(name, {})} for name in {**base, **over}}


def compared(
    base: dict[str, Any], recipes: dict[str, Any], args: argparse.Namespace
) -> dict[str, dict[int, list[Point]]]:
    """Points of all recipes: by name and number of steps, one of each seed."""
    asked = []
    for name, over in recipes.items():
        for length in lengths_of(merged(base, over), args.steps):
            recipe = training_of(base, over, length, args.steps)
            first = first_of(recipe, base, recipes, args.steps)
            asked += [(name, recipe, seed, first) for seed in range(args.seeds)]
    asked.sort(key=lambda each: each[2])  # first a seed of everything
    found: dict[str, dict[int, list[Point]]] = {name: {} for name in recipes}
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        futures = [
            (name, recipe, pool.submit(trial, recipe, seed, args.steps, args.out, first))
            for name, recipe, seed, first in asked
        ]
        for name, recipe, future in futures:
            scheduled = lengths_of(recipe, args.steps) == args.steps
            points = future.result()
            for point in points[-1:] if scheduled else points:
                if point.steps in args.steps:
                    found[name].setdefault(point.steps, []).append(point)
            last = points[-1]
            print(f"{name:<24} {last.steps:>6} steps {last.frechet:8.3f}", file=sys.stderr)
    return found


def summary(found: dict[str, dict[int, list[Point]]]) -> dict[str, Any]:
    """Mean and spread of each recipe's distances, by steps, and how many FLOPs it saves."""
    goal = _mean(found[PLAIN][max(found[PLAIN])])
    rows = {}
    for name, points in found.items():
        reached = [each[0].flops for _, each in sorted(points.items()) if _mean(each) <= goal]
        full = max(each[0].flops for each in found[PLAIN].values())
        rows[name] = {
            "frechet": {steps: _spread(each) for steps, each in sorted(points.items())},
            "tflops": round(points[max(points)][0].flops / 1e12, 2),
            "recall": round(statistics.mean(p.recall for p in points[max(points)]), 3),
            "flops_to_goal": round(reached[0] / full, 3) if reached else None,
        }
    return rows


def _mean(points: list[Point]) -> float:
    return statistics.mean(each.frechet for each in points)


def _spread(points: list[Point]) -> list[float]:
    values = [each.frechet for each in points]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return [round(statistics.mean(values), 3), round(deviation, 3)]


def draw_picture(found: dict[str, dict[int, list[Point]]], path: Path) -> None:
    """Quality against FLOPs with the spread of seeds; those that end best are named."""
    ranked = sorted(found, key=lambda name: _mean(found[name][max(found[name])]))
    named = [PLAIN, *[name for name in ranked if name != PLAIN][:_NAMED]]
    with drawing(7.2, 4.4) as figure:
        figure.set_facecolor(PAPER)
        axes = figure.subplots()
        for name, points in found.items():
            places = [points[steps] for steps in sorted(points)]
            flops = [each[0].flops / 1e12 for each in places]
            means, spreads = zip(*map(_spread, places), strict=True)
            if name not in named:
                axes.plot(flops, means, color=RULE, linewidth=1.0, zorder=1)
                continue
            colour = INK if name == PLAIN else series(named.index(name) - 1)
            axes.errorbar(flops, means, spreads, label=name, color=colour, capsize=2)
        goal = _mean(found[PLAIN][max(found[PLAIN])])
        axes.axhline(goal, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        top = _TALL * _mean(found[PLAIN][min(found[PLAIN])])
        if above := [name for name, points in found.items() if _mean(points[max(points)]) > top]:
            axes.set_ylim(top=top)
            axes.set_title(f"above: {', '.join(above)}", loc="right", fontsize=8, color=MUTED)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("{x:g}")
        axes.set_xlabel("TFLOPs of training")
        axes.set_ylabel("Fréchet distance")
        axes.legend(fontsize=8)
        figure.savefig(path, dpi=150)


def print_table(rows: dict[str, Any], steps: list[int]) -> None:
    """Rows of a Markdown table on standard error, the best first."""
    heads = ["recipe", *(f"{num:,} steps" for num in steps), "recall", "TFLOPs", "FLOPs to goal"]
    print("| " + " | ".join(heads) + " |", file=sys.stderr)
    print("| --- " * len(heads) + "|", file=sys.stderr)
    for name, row in sorted(rows.items(), key=lambda each: list(each[1]["frechet"].values())[-1]):
        told = [f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in row["frechet"].values()]
        goal = "not reached" if row["flops_to_goal"] is None else f"{row['flops_to_goal']:.2f}×"
        cells = [name, *told, f"{row['recall']:.2f}", f"{row['tflops']:.2f}", goal]
        print("| " + " | ".join(cells) + " |", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--recipes", type=Path, default=RECIPES)
    parser.add_argument("--only", nargs="*", help="names of recipes, besides plain")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, nargs="+", default=[375, 750, 1500, 3000])
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--out", type=Path, default=Path("runs/convergence"))
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    recipes = tomllib.loads(args.recipes.read_text(encoding="utf-8"))
    if args.only is not None:
        recipes = {name: recipes[name] for name in [PLAIN, *args.only]}
    uri = f"run.uri={(args.out / 'run').absolute()}"
    one = [uri, "partition.num_experts=1", 'evaluation.strategies=["full"]']
    config = read_config(Path(args.config), [*args.overrides, *one])
    base = config.model_dump(mode="json", exclude_unset=True)
    run_partition(config, lambda *_: None)
    judge(settings_of_judge(config))  # trains the extractor, before others look for it
    found = compared(base, recipes, args)
    rows = summary(found)
    print_table(rows, args.steps)
    if args.picture:
        draw_picture(found, args.picture)
    settings = {"config": args.config, "seeds": args.seeds, "set": args.overrides}
    print(json.dumps({"benchmark": "convergence", **settings, "rows": rows}))


if __name__ == "__main__":
    main()
