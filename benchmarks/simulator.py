"""How long the simulator takes for a large fleet, and how that grows with its size.

    python benchmarks/simulator.py

Spot nodes that live a day on the mean. Baseline:
a tenth of the islands in the same process; a ratio of ten means that the cost of an island does not
depend on how many there are.
"""

import argparse
import json
import time

from orchestrator.fleet.state import Policy
from orchestrator.simulator.islands import Islands
from orchestrator.simulator.world import World


def world(num_islands: int, days: float) -> World:
    return World(
        num_islands=num_islands,
        steps=int((days + 1) * 86400),  # nobody is done before the end
        checkpoint_every_steps=3600,
        step_s=1.0,
        lifetime_s=86400.0,
        crashes_per_day=0.02,
        cuts_per_day=0.1,
        num_zones=3,
        outages_per_day=0.1 / 30,
        slow_share=0.02,
        checkpoint_bytes=1e10,
        bandwidth_bytes_per_s=1e8,
        provision_s=300.0,
        start_s=60.0,
        max_s=days * 86400,
        policy=Policy(term_s=10.0, max_failures=5, backoff_s=1.0),
    )


def measured(num_islands: int, days: float) -> dict[str, float]:
    wall, own = time.perf_counter(), time.process_time()
    tally = Islands(world(num_islands, days), seed=0).run()
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - own,
        "recoveries": sum(tally.recoveries.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--islands", type=int, default=10_000)
    parser.add_argument("--days", type=float, default=30.0)
    arguments = parser.parse_args()
    small = measured(arguments.islands // 10, arguments.days)
    large = measured(arguments.islands, arguments.days)
    result = {
        "benchmark": "simulator",
        "islands": arguments.islands,
        "days": arguments.days,
        "wall_s": round(large["wall_s"], 1),
        "cpu_s": round(large["cpu_s"], 1),
        "recoveries": large["recoveries"],
        "tenth_cpu_s": round(small["cpu_s"], 1),
        "ratio": round(large["cpu_s"] / small["cpu_s"], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
