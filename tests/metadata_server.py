"""A node's metadata service, as strict as the clouds' own: who asks otherwise is refused.

As a program it speaks one cloud's dialect on a free port, which it prints, and gives notice once a
file is there: ``metadata_server.py aws /tmp/notice``.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class MetadataServer(ThreadingHTTPServer):
    """Serves from a thread of its own.

    Attributes:
        cloud: whose dialect.
        given: whether notice is given.
        at: when the node is taken back, seconds since the Unix epoch.
        asked: the paths that were asked for.
        tokens: those of AWS that still last.
        nameless: whether a node is not told its own name.
        body: what is said in place of what the cloud would say; None for that.
    """

    daemon_threads = True

    def __init__(self, cloud: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cloud = cloud
        self.given = False
        self.at = time.time() + 100
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self.nameless = False
        self.body: str | None = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: MetadataServer

    def do_PUT(self) -> None:
        if self.server.cloud != "aws" or self.path != "/latest/api/token":
            self._say(404, "")
        elif not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "").isdecimal():
            self._say(400, "")
        else:
            self.server.tokens.add(given := secrets.token_urlsafe())
            self._say(200, given)

    def do_GET(self) -> None:
        status, text = getattr(self, f"_{self.server.cloud}")()
        self._say(status, text if self.server.body is None or status >= 400 else self.server.body)

    def _aws(self) -> tuple[int, str]:
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            return 401, ""
        if self.path != "/latest/meta-data/spot/instance-action" or not self.server.given:
            return 404, ""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.server.at))
        return 200, json.dumps({"action": "terminate", "time": at})

    def _gcp(self) -> tuple[int, str]:
        if self.headers.get("Metadata-Flavor") != "Google":
            return 403, ""
        if self.path != "/computeMetadata/v1/instance/preempted":
            return 404, ""
        return 200, "TRUE" if self.server.given else "FALSE"

    def _azure(self) -> tuple[int, str]:
        if self.headers.get("Metadata") != "true":
            return 400, ""
        path, _, query = self.path.partition("?")
        if path == "/metadata/instance/compute/name" and "api-version=2021-02-01" in query:
            return (404, "") if self.server.nameless else (200, "node-1")
        if (path, query) != ("/metadata/scheduledevents", "api-version=2020-07-01"):
            return 404, ""
        events = [self._event("Reboot", "node-1"), self._event("Preempt", "node-2")]
        if self.server.given:
            events.append(self._event("Preempt", "node-1"))
        return 200, json.dumps({"DocumentIncarnation": 1, "Events": events})

    def _event(self, kind: str, node: str) -> dict[str, Any]:
        at = formatdate(self.server.at, usegmt=True)
        about = {"EventId": "e", "EventStatus": "Scheduled", "ResourceType": "VirtualMachine"}
        return {**about, "EventType": kind, "Resources": [node], "NotBefore": at}

    def _say(self, status: int, text: str) -> None:
        self.server.asked.append(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


if __name__ == "__main__":
    serving, given = MetadataServer(sys.argv[1]), Path(sys.argv[2])
    print(serving.url, flush=True)
    while True:
        serving.given = given.exists()
        time.sleep(0.05)
