"""torchft's lighthouse: prints its address, and serves until its standard input ends.

Run by the interpreter of scripts/peers. The extension is loaded by itself, because the package
around it imports torch.
"""

import importlib.util
import sys
import sysconfig
from pathlib import Path

[extension] = (Path(sysconfig.get_paths()["platlib"]) / "torchft").glob("_torchft*.so")
spec = importlib.util.spec_from_file_location("_torchft", extension)
assert spec
assert spec.loader
torchft = importlib.util.module_from_spec(spec)
spec.loader.exec_module(torchft)

server = torchft.LighthouseServer(
    bind="127.0.0.1:0", min_replicas=1, quorum_tick_ms=1000, heartbeat_timeout_ms=60_000
)
print("127.0.0.1:" + server.address().rpartition(":")[2], flush=True)
sys.stdin.read()
server.shutdown()
