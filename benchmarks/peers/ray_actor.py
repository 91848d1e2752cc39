"""Ray with its defaults: from a signal to an actor's node until its driver knows, and has it back.

    ray_actor.py worker-killed|node-killed|node-frozen

Run by the interpreter of scripts/peers. Three nodes on this machine: the driver's, the actor's, and
one to restart it on. Prints seconds as JSON.
"""

import json
import os
import signal
import sys
import time

import ray
from ray.cluster_utils import Cluster
from ray.exceptions import RayError


@ray.remote(max_restarts=-1, resources={"island": 1})
class Actor:
    """Works until it is interrupted."""

    def where(self) -> tuple[int, str]:
        """Its process and node."""
        return os.getpid(), ray.get_runtime_context().get_node_id()

    def work(self) -> None:
        """Never ends."""
        time.sleep(3600)


fault = sys.argv[1]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
nodes = [cluster.add_node(num_cpus=1, resources={"island": 1}) for _ in range(2)]
ray.init(cluster.address, log_to_driver=False)
actor = Actor.remote()
pid, node_id = ray.get(actor.where.remote())
[node] = [each for each in nodes if each.node_id == node_id]
raylet = node.all_processes["raylet"][0].process.pid
victims = [pid] if fault == "worker-killed" else [raylet, pid]
working = actor.work.remote()
time.sleep(5)  # until all have settled

begin = time.perf_counter()
for victim in victims:
    os.kill(victim, signal.SIGSTOP if fault == "node-frozen" else signal.SIGKILL)
try:
    ray.get(working, timeout=300)
except RayError as error:
    known_s = time.perf_counter() - begin
    kind = type(error).__name__
while True:
    try:
        if ray.get(actor.where.remote(), timeout=60)[0] != pid:
            break
    except RayError:
        time.sleep(0.05)
again_s = time.perf_counter() - begin
print(json.dumps({"known_s": round(known_s, 2), "again_s": round(again_s, 2), "as": kind}))
sys.stdout.flush()
if fault == "node-frozen":
    for victim in victims:
        os.kill(victim, signal.SIGCONT)
ray.shutdown()
cluster.shutdown()
