"""Clustering throughput and peak memory against scikit-learn's KMeans on synthetic features.

``python benchmarks/clustering.py [--samples 1000000] [--dims 768] [--fine 1024]``

Ours is the whole assignment: fine and coarse centroids, offsets for even sizes, and the cluster of
every sample. The baseline is ``KMeans(fine)`` on the same file, mapped into memory, from a random
start and stopped after a few iterations, because k-means++ or a full run takes hours at this size;
its time is thus a lower bound. Both are judged by the mean squared distance of samples to their
nearest fine centroid. Each side runs in a process of its own, ours also on a tenth of the samples
to show whether memory grows with them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from resident import peak_bytes
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin_min

from atoll.sections import PartitionSection
from partition.assignment import assign_samples
from partition.rowfile import RowFile

NUM_MODES = 200
CHUNK = 8192


def main() -> None:
    options = _options()
    if options.side:
        print(json.dumps(_measure(options)))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        whole, part = Path(folder) / "whole", Path(folder) / "part"
        _generate(whole, options.samples, options.dims)
        _generate(part, options.samples // 10, options.dims)
        ours = _apart(options, "ours", whole, options.samples)
        tenth = _apart(options, "ours", part, options.samples // 10)
        baseline = _apart(options, "sklearn", whole, options.samples)
    result = {
        "benchmark": "clustering",
        "samples": options.samples,
        "dims": options.dims,
        "fine": options.fine,
        "experts": options.experts,
        "ours": ours,
        "ours_on_a_tenth": tenth,
        "sklearn_kmeans": {**baseline, "max_iterations": options.iterations, "init": options.init},
        "times_faster": round(baseline["seconds"] / ours["seconds"], 2),
        "memory_ratio": round(ours["peak_bytes"] / baseline["peak_bytes"], 3),
        "memory_growth_from_a_tenth": round(ours["peak_bytes"] / tenth["peak_bytes"], 3),
        "distance_ratio": round(
            ours["mean_squared_distance"] / baseline["mean_squared_distance"], 4
        ),
    }
    print(json.dumps(result))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--fine", type=int, default=1024)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=3, help="of the baseline, at most")
    parser.add_argument("--init", choices=["random", "k-means++"], default="random")
    parser.add_argument("--scratch", type=Path, help="folder with room for the features")
    parser.add_argument("--side", choices=["ours", "sklearn"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _generate(path: Path, num: int, dims: int) -> None:
    generator = np.random.default_rng(0)
    modes = generator.standard_normal((NUM_MODES, dims), np.float32)
    rows = RowFile(path, dims)
    for first in range(0, num, CHUNK):
        size = min(CHUNK, num - first)
        noise = generator.standard_normal((size, dims), np.float32)
        rows.append(modes[generator.integers(NUM_MODES, size=size)] + noise)


def _apart(options: argparse.Namespace, side: str, path: Path, samples: int) -> dict[str, Any]:
    numbers = {"samples": samples, "dims": options.dims, "fine": options.fine}
    numbers |= {"experts": options.experts, "iterations": options.iterations}
    numbers |= {"init": options.init}
    flags = [text for key, value in numbers.items() for text in (f"--{key}", str(value))]
    command = [sys.executable, __file__, "--side", side, "--path", str(path), *flags]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    start = time.perf_counter()
    fine, sizes = (_ours if options.side == "ours" else _sklearn)(options)
    seconds = time.perf_counter() - start
    peak = peak_bytes()
    some = RowFile(options.path, options.dims).take(np.arange(min(options.samples, 16_384)))
    _, distances = pairwise_distances_argmin_min(some, fine, metric="sqeuclidean")
    return {
        "seconds": round(seconds, 2),
        "samples_per_s": round(options.samples / seconds),
        "peak_bytes": peak,
        "mean_squared_distance": float(distances.mean()),
        "sizes": sizes,
    }


def _ours(options: argparse.Namespace) -> tuple[np.ndarray, list[int]]:
    section = PartitionSection(num_experts=options.experts, num_fine=options.fine)
    made = assign_samples(RowFile(options.path, options.dims), section, seed=0)
    return made.fine, made.sizes.tolist()


def _sklearn(options: argparse.Namespace) -> tuple[np.ndarray, list[int]]:
    rows = np.memmap(options.path, np.float32, "r", shape=(options.samples, options.dims))
    model = KMeans(
        options.fine, init=options.init, n_init=1, max_iter=options.iterations, random_state=0
    )
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model.fit(rows)
    return model.cluster_centers_, []


if __name__ == "__main__":
    main()
