"""A web server on loopback that gives files, and has what is wrong with real ones on request."""

from __future__ import annotations

import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FaultyServer:
    """Serves ``files`` from a thread until it is stopped.

    Attributes:
        url: where.
        files: bytes by name.
        ranges: whether a part of a file can be asked for.
        faults: done away with one by one by requests for what is there: a status to answer with, or
            the number of bytes after which the connection breaks. None: no fault.
        resets: whether a connection breaks as where a machine on the way is switched off, so that
            bytes which were sent may be lost, and not as where the server ends.
        asked: name and wish for a range of each request for what is there.
        lengths: of files, told instead of the right ones.
        content_range: told with every part of a file, None for nothing, "" for the right one.
        retry_after: told with every status that is no success.
        absent: the status where there is nothing.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.faults: list[int | None] = []
        self.resets = False
        self.asked: list[tuple[str, str | None]] = []
        self.lengths: dict[str, int] = {}
        self.content_range: str | None = ""
        self.retry_after: str | None = None
        self.absent = 404
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.partition("?")[0].removeprefix("/")
                if name not in outer.files:
                    self.refuse(outer.absent)
                    return
                wish = self.headers.get("Range")
                outer.asked.append((name, wish))
                fault = outer.faults.pop(0) if outer.faults else None
                if fault in {403, 429, 500, 503}:
                    self.refuse(fault)
                    return
                data, first = outer.files[name], 0
                if wish and outer.ranges:
                    first = int(wish.removeprefix("bytes=").removesuffix("-"))
                    if first >= len(data):
                        self.refuse(416)
                        return
                self.send_response(206 if wish and outer.ranges else 200)
                total = outer.lengths.get(name, len(data))
                if wish and outer.ranges:
                    right = f"bytes {first}-{total - 1}/{total}"
                    if outer.content_range is not None:
                        self.send_header("Content-Range", outer.content_range or right)
                self.send_header("Content-Length", str(total - first))
                self.end_headers()
                self.wfile.write(data[first:] if fault is None else data[first : first + fault])
                self.close_connection = True
                if fault is not None and outer.resets:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()

            def refuse(self, status: int) -> None:
                self.send_response(status)
                if outer.retry_after is not None:
                    self.send_header("Retry-After", outer.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
