"""The ensemble against the FLOP-matched monolith, over several seeds.

    python benchmarks/quality.py configs/digits.toml --seeds 3 --set training.steps=2000

Each seed is a whole `atoll run` of its own: partition, training and sampling all follow from it.
Baseline: the monolith of the same run. Prints a table on standard error and one JSON line.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from atoll import layout
from evaluation.results import MONOLITH


def run(config: str, uri: Path, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Make one run, or find it done, and read what its evaluation found."""
    settings = [f"run.uri={uri}", f"run.seed={seed}", *overrides]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    subprocess.run(
        [sys.executable, "-m", "atoll", "run", "--config", config, *flags],
        check=True,
        stdout=sys.stderr,
    )
    results: dict[str, Any] = json.loads((uri / layout.EVALUATION).read_text())
    return results


def spread(values: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 3), "std": round(deviation, 3)}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of each row's scores, and of its distance relative to the monolith's.

    Without a monolith, ``evaluation.monolith=false``, there is nothing to be relative to: None.
    """
    scores = [{row["name"]: row["scores"] for row in results["rows"]} for results in runs]
    summed = {}
    for first in runs[0]["rows"]:
        name = first["name"]
        relative = [
            of[name]["frechet"] / of[MONOLITH]["frechet"] for of in scores if MONOLITH in of
        ]
        summed[name] = {
            "frechet": spread([of[name]["frechet"] for of in scores]),
            "kid": spread([of[name]["kid"] for of in scores]),
            "recall": spread([of[name]["recall"] for of in scores]),
            "to_monolith": spread(relative) if relative else None,
            "gflops_per_image": first["cost"] and first["cost"]["gflops_per_image"],
        }
    return summed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    arguments = parser.parse_args()
    runs = [
        run(arguments.config, arguments.out / f"seed-{seed}", seed, arguments.overrides)
        for seed in range(arguments.seeds)
    ]
    rows = summary(runs)
    for name, row in rows.items():
        distance, relative = row["frechet"], row["to_monolith"]
        held = f" {relative['mean']:5.2f}x the monolith's " if relative else ""
        print(
            f"{name:<14} Fréchet {distance['mean']:8.2f} ± {distance['std']:<7.2f}{held}"
            f" recall {row['recall']['mean']:.3f}",
            file=sys.stderr,
        )
    settings = {"config": arguments.config, "seeds": arguments.seeds, "set": arguments.overrides}
    print(json.dumps({"benchmark": "quality", **settings, "rows": rows}))


if __name__ == "__main__":
    main()
