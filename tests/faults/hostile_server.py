"""A control plane in a process of its own, so that its memory can be watched while it is abused.

``hostile_server.py FOLDER KEY=VALUE…`` serves the run that the settings name; its islands are
nobody's business here, and time passes for them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from atoll import logs
from atoll.clock import SystemClock
from atoll.config_file import read_config
from orchestrator.fleet.state import Policy
from orchestrator.rpc.security import secured
from orchestrator.rpc.server import start_server
from orchestrator.service import FleetService
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import sqlite_url

if __name__ == "__main__":
    logs.set_up()
    folder, clock = Path(sys.argv[1]), SystemClock()
    config = read_config(None, sys.argv[2:])
    store = SqlStore(sqlite_url(folder / "orchestrator.db"))
    service = FleetService(store, Policy(600.0, max_failures=2, backoff_s=0.1), clock)
    security = secured(config, "run", clock, store.claim)
    listen = config.orchestrator.listen
    server, address = start_server(service, listen, "run", security, reflection=True)
    print(address, flush=True)
    while True:
        service.tick()
        if security is not None:
            security.turn_out("run", service.island_gone)
        time.sleep(0.2)
