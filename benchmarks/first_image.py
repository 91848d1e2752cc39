"""From the start of `atoll serve` to the first image over HTTP.

    OMP_NUM_THREADS=1 python benchmarks/first_image.py runs/digits

The run has to be trained. Baseline: a Python that imports torch, which every server has to do.
Prints one JSON line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request


def first_image_s(run: str) -> dict[str, float]:
    """Seconds until callers are told where it is, and until one of them has an image."""
    anywhere = ("serving.listen=127.0.0.1:0", "serving.grpc_listen=127.0.0.1:0")
    options = ["--set", anywhere[0], "--set", anywhere[1], "--json"]
    begun_at = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "atoll", "serve", run, *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    try:
        line = server.stdout.readline()
        if not line:
            raise SystemExit("the server did not start; its last words are above")
        address = json.loads(line)["rest"]
        opened_s = time.perf_counter() - begun_at
        request = urllib.request.Request(  # noqa: S310 - of the server above
            f"{address}/v1/images/generations",
            b"{}",
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            assert json.load(answer)["data"]
        return {"open_s": opened_s, "first_image_s": time.perf_counter() - begun_at}
    finally:
        server.terminate()
        server.communicate()


def import_torch_s() -> float:
    begun_at = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - begun_at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="URI of a trained run")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    rows = []
    for _ in range(arguments.repeats):
        floor_s = import_torch_s()
        row = {"import_torch_s": floor_s, **first_image_s(arguments.run)}
        rows.append({**row, "ratio": row["first_image_s"] / floor_s})
    found = {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
    print(json.dumps({"benchmark": "first_image", "cores": os.cpu_count(), **found}))


if __name__ == "__main__":
    main()
