"""Flower's link state on SQLite: heartbeats a second, in one process and without a network.

    flower.py FOLDER NODES THREADS SECONDS

Run by the interpreter of scripts/peers. Prints what each heartbeat took, seconds, as JSON.
"""

import json
import sys
import threading
import time

from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
from flwr.supercore.object_store.object_store_factory import ObjectStoreFactory
from flwr.superlink.federation import NoOpFederationManager

INTERVAL_S = 30.0

folder, nodes, threads, seconds = sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4])
state = SqlLinkState(f"{folder}/state.db", NoOpFederationManager(), ObjectStoreFactory().store())
state.initialize()
ids = [state.create_node("a", "a", f"key-{n}".encode(), INTERVAL_S) for n in range(nodes)]
for node in ids:
    state.activate_node(node, INTERVAL_S)
took: list[float] = []


def beat(mine: list[int]) -> None:
    stop_at, number = time.perf_counter() + seconds, 0
    while (begin := time.perf_counter()) < stop_at:
        assert state.acknowledge_node_heartbeat(mine[number % len(mine)], INTERVAL_S)
        took.append(time.perf_counter() - begin)
        number += 1


beating = [threading.Thread(target=beat, args=(ids[n::threads],)) for n in range(threads)]
for each in beating:
    each.start()
for each in beating:
    each.join()
print(json.dumps(took))
