"""How long ``atoll --help`` takes, beside the interpreter with the same command-line library.

    python benchmarks/startup.py

Baseline: the same Python process importing typer and printing the help of a one-command program.
"""

import json
import statistics
import subprocess
import sys
import time

REPEATS = 15
BASELINE = (
    "import typer\napp = typer.Typer()\n@app.command()\ndef one(): pass\n"
    "@app.command()\ndef two(): pass\napp(['--help'])\n"
)


def seconds(*arguments: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    ours, baseline = [], []
    for _ in range(REPEATS):  # interleaved, so that both meet the same neighbours
        ours.append(seconds("-m", "atoll", "--help"))
        baseline.append(seconds("-c", BASELINE))
    result = {
        "benchmark": "startup",
        "atoll_help_s": round(statistics.median(ours), 3),
        "typer_help_s": round(statistics.median(baseline), 3),
        "ratio": round(statistics.median(ours) / statistics.median(baseline), 2),
        "repeats": REPEATS,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
