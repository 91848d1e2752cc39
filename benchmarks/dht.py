"""How long a DHT, and a registry, take to tell where somebody is, against a bare call.

Peers are started as by `atoll peer`, on loopback; announcing and finding go through a process, as
those of orchestrators and agents do. The registry is that of an orchestrator in a process of its
own. Baseline: the same client's call to a bare gRPC server with mutual TLS, in a process of its
own. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psutil

from atoll import authority, identity
from atoll.authority import Pair
from atoll.clock import SystemClock
from atoll.control import ControlClient
from atoll.credentials import CA, SERVER, client_credentials, write_pair
from atoll.types import Lease, Progress
from membership.dht import Dht
from membership.record import Kind, Record
from membership.registry import Registry

BARE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import grpc
from atoll.credentials import CA, SERVER, read_certificate, read_pair, server_credentials
from atoll.wire.v1 import control_pb2 as wire, control_pb2_grpc as rpc

class Bare(rpc.IslandsServicer):
    def Heartbeat(self, request, context):
        return wire.HeartbeatResponse(directive=wire.DIRECTIVE_CONTINUE)

folder = Path(sys.argv[1])
server = grpc.server(ThreadPoolExecutor(4))
rpc.add_IslandsServicer_to_server(Bare(), server)
credentials = server_credentials(read_pair(folder, SERVER), read_certificate(folder / f"{CA}.crt"))
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
print(f"127.0.0.1:{port}", flush=True)
server.wait_for_termination()
"""

REGISTRY = """
import sys, threading
from pathlib import Path
from tests.registry import orchestrator

folder = Path(sys.argv[1])
with orchestrator(folder / "run", folder):
    print("serves", flush=True)
    threading.Event().wait()
"""


@contextmanager
def started(*command: str) -> Iterator[str]:
    """Inside, a process; the first line it says."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def ms(call: Callable[[], object]) -> float:
    """How long a call takes."""
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1000


def percentiles(name: str, taken: list[float]) -> dict[str, float]:
    """Median and 99th percentile, named."""
    return {
        f"{name}_ms": round(statistics.median(taken), 2),
        f"{name}_p99_ms": round(statistics.quantiles(taken, n=100)[98], 2),
    }


def measured(  # noqa: PLR0917 - all that is asked
    dht: Dht,
    registry: Registry,
    client: ControlClient,
    server: Pair,
    num_records: int,
    repeats: int,
) -> dict[str, float]:
    """Announce, find and call in turns, so that all meet the same neighbours."""
    lease, progress = Lease("expert-0", "island-1", 1, 10.0), Progress(1, 1.0, 1.0)
    announce, find, look, call = [], [], [], []
    for number in range(repeats):
        name = f"process {number % num_records}"
        record = Record(Kind.ORCHESTRATOR, "run", name, "127.0.0.1:1", number)
        announce.append(ms(partial(dht.announce, record, server)))
        find.append(ms(partial(dht.find, "run", Kind.ORCHESTRATOR)))
        here = f"127.0.0.1:{number % num_records + 1}"
        registry.announce(Record(Kind.EXPERTS, "run", here, here), server)
        look.append(ms(partial(registry.find, "run", Kind.EXPERTS)))
        call.append(ms(partial(client.heartbeat, lease, progress)))
    assert len(dht.find("run", Kind.ORCHESTRATOR).records) == num_records
    return {
        **percentiles("announce", announce),
        **percentiles("find", find),
        **percentiles("find_in_registry", look),
        **percentiles("call", call),
        "ratio": round(statistics.median(find) / statistics.median(call), 1),
    }


def memory_mib() -> int:
    """What the way into the DHT takes: its process, and that one's daemon."""
    (way,) = (
        each for each in psutil.Process().children() if "membership.process" in each.cmdline()
    )
    return round(sum(each.memory_info().rss for each in [way, *way.children()]) / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=int, default=3)
    parser.add_argument("--records", type=int, default=2, help="orchestrators that announce")
    parser.add_argument("--repeats", type=int, default=200)
    args = parser.parse_args()
    now = time.time()
    ca = authority.new_authority(now, 3600)
    server = authority.for_hosts(ca, ["127.0.0.1"], now, 3600, identity.server("local"))
    caller = authority.for_identity(ca, identity.island("run", "island-1"), now, 3600)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_pair(folder, CA, ca)
        write_pair(folder, SERVER, server)
        command = [sys.executable, "-m", "atoll", "peer", "--authority", str(folder / f"{CA}.crt")]
        peers: list[str] = []
        for _ in range(args.peers):
            join = [word for peer in peers[:1] for word in ("--join", peer)]
            peers.append(stack.enter_context(started(*command, *join)))
        address = stack.enter_context(started(sys.executable, "-c", BARE, str(folder)))
        credentials = client_credentials(caller, ca.certificate)
        client = stack.enter_context(ControlClient(address, "run", credentials))
        dht = stack.enter_context(Dht(peers[:1], ca.certificate, SystemClock()))
        stack.enter_context(started(sys.executable, "-c", REGISTRY, str(folder)))
        uri = str(folder / "run")
        registry = stack.enter_context(
            Registry(uri, "expert_server.tls", str(folder), identity.Kind.SERVER, SystemClock())
        )
        begin = ms(lambda: dht.find("run", Kind.ORCHESTRATOR))
        result = {
            "benchmark": "dht",
            "peers": args.peers,
            "records": args.records,
            "first_find_s": round(begin / 1000, 2),
            **measured(dht, registry, client, server, args.records, args.repeats),
            "memory_mib": memory_mib(),
            "repeats": args.repeats,
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
