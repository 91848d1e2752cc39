"""``atoll partition`` end to end: how time and memory grow with the data, beside a plain loop.

    OMP_NUM_THREADS=1 python benchmarks/partitioning.py [--samples 1000000] [--side 32]

Samples are JPEGs in tars, cropped to squares. Ours reads, crops, fits features, clusters and writes
shards; it runs on a quarter of the samples, a half, and all of them, each in a process of its own.
The baseline takes no decisions: one process reads with webdataset, crops with Pillow, and writes
PNGs with webdataset's writer, the least that makes shards of the same samples. It runs on a
quarter. Growth is of processor time, which other work does not lengthen. Of ours, memory is the
largest resident size of the command's process, and of its largest helper.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image, ImageOps
from resident import peak_bytes

DISTINCT = 2_000  # images; more samples repeat them, which costs as much to decode
PER_TAR = 10_000
PARTS = (4, 2, 1)


def main() -> None:
    options = _options()
    if options.of:
        print(json.dumps(_measure(options)))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        _generate(Path(folder) / "data", options.samples, options.side)
        ours = [_apart(options, "ours", Path(folder), options.samples // part) for part in PARTS]
        plain = _apart(options, "plain", Path(folder), options.samples // PARTS[0])
    result = {
        "benchmark": "partitioning",
        "samples": options.samples,
        "side": options.side,
        "ours": ours,
        "plain_loop": plain,
        "times_faster": round(ours[-1]["samples_per_s"] / plain["samples_per_s"], 2),
        "time_growth": [round(each["processor_s"] / ours[0]["processor_s"], 2) for each in ours],
        "memory_growth": [round(each["peak_bytes"] / ours[0]["peak_bytes"], 2) for each in ours],
    }
    print(json.dumps(result))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--side", type=int, default=32, help="of the squares, pixels")
    parser.add_argument("--workers", type=int, help="data.workers; one for each core if not given")
    parser.add_argument("--scratch", type=Path, help="folder with room for all three times")
    parser.add_argument("--of", choices=["ours", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _generate(folder: Path, num: int, side: int) -> None:
    """Tars of JPEGs with labels and captions, wider than high; first those of a quarter."""
    import webdataset as wds  # noqa: PLC0415 - see _ours

    folder.mkdir()
    draw = np.random.default_rng(0)
    files = []
    for _ in range(min(num, DISTINCT)):
        coarse = draw.integers(0, 256, (4, 5, 3), np.uint8)
        whole, buffer = Image.fromarray(coarse).resize((side * 5 // 4, side)), io.BytesIO()
        whole.save(buffer, "jpeg", quality=90)
        files.append(buffer.getvalue())
    for first in range(0, num, per_tar := _per_tar(num)):
        with wds.TarWriter(str(folder / f"{first // per_tar:05d}.tar")) as tar:
            for index in range(first, min(first + per_tar, num)):
                about = {"__key__": f"{index:09d}", "jpg": files[index % len(files)]}
                tar.write({**about, "cls": str(index % 10), "txt": f"number {index}"})


def _per_tar(num: int) -> int:
    """Samples of a tar, so that whole tars make up a quarter of all samples."""
    return max(1, num // PARTS[0] // max(1, num // PARTS[0] // PER_TAR))


def _apart(options: argparse.Namespace, of: str, folder: Path, samples: int) -> dict[str, Any]:
    flags = ["--of", of, "--folder", str(folder), "--samples", str(samples)]
    flags += ["--side", str(options.side)]
    if options.workers is not None:
        flags += ["--workers", str(options.workers)]
    command = [sys.executable, __file__, *flags]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    tars, found = [], 0
    for tar in sorted((options.folder / "data").iterdir()):
        if found < options.samples:
            tars.append(str(tar))
            with tar.open("rb") as file:
                found += file.read().count(b".jpg\0")
    begin, spent = time.perf_counter(), sum(os.times()[:4])
    measured = (_ours if options.of == "ours" else _plain)(options, tars)
    seconds = time.perf_counter() - begin
    return {
        "samples": found,
        "seconds": round(seconds, 1),
        "processor_s": round(sum(os.times()[:4]) - spent, 1),  # of helpers, too: they have ended
        "samples_per_s": round(found / seconds),
        "peak_bytes": peak_bytes(),
        **measured,
    }


def _ours(options: argparse.Namespace, tars: list[str]) -> dict[str, Any]:
    # What this file imports its helpers do as well, which of the command's own are small.
    from atoll.config import Config  # noqa: PLC0415
    from partition.stage import run_partition  # noqa: PLC0415

    pattern = tars[0] if len(tars) == 1 else "{" + ",".join(tars) + "}"
    data = {"source": "webdataset", "path": pattern, "size": options.side}
    config = Config.model_validate(
        {
            "run": {"uri": str(options.folder / f"run-{len(tars)}")},
            "data": {**data, "workers": options.workers},
            "partition": {"num_experts": 8},
        }
    )
    largest, spent, begun = 0, {}, time.perf_counter()

    def progress(doing: str, done: int, _: int | None) -> None:
        nonlocal largest, begun
        now = time.perf_counter()
        spent[doing], begun = spent.get(doing, 0.0) + now - begun, now
        if done % 20_000 == 0:
            helpers = psutil.Process().children()
            largest = max([largest, *(helper.memory_info().rss for helper in helpers)])

    made = run_partition(config, progress)
    assert made.num_samples
    return {
        "helper_bytes": largest,
        "parts_s": {doing: round(seconds, 1) for doing, seconds in spent.items()},
    }


def _plain(options: argparse.Namespace, tars: list[str]) -> dict[str, Any]:
    import webdataset as wds  # noqa: PLC0415 - see _ours

    with wds.ShardWriter(
        str(options.folder / "plain-%05d.tar"), maxcount=PER_TAR, verbose=0
    ) as shards:
        for sample in wds.WebDataset(tars, shardshuffle=False, empty_check=False):
            with Image.open(io.BytesIO(sample["jpg"])) as whole:
                size = (options.side, options.side)
                image = ImageOps.fit(whole.convert("RGB"), size, Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            image.save(buffer, "png")
            about = {"label": int(sample["cls"]), "caption": sample["txt"].decode()}
            shards.write({"__key__": sample["__key__"], "png": buffer.getvalue(), "json": about})
    return {}


if __name__ == "__main__":
    main()
