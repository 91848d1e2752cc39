"""The application behind a port, in a thread of its own."""

from __future__ import annotations

import math
import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

from atoll.address import split_address
from atoll.errors import BadInput

_LOOK_S = 0.01


class RestServer:
    """Answers over HTTP from its start until it is stopped."""

    def __init__(self, app: FastAPI, listen: str) -> None:
        """Take the port, and answer from now on.

        Args:
            app: see :func:`serving.rest.app.make_app`.
            listen: ``host:port``; port 0 takes any free one.

        Raises:
            BadInput: the port cannot be had.
        """
        self._socket = _bound(listen)
        host, port = split_address(listen)[0], self._socket.getsockname()[1]
        self.address = f"http://{host}:{port}"
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="rest", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(_LOOK_S)

    def stop(self, seconds: float) -> None:
        """Take no more calls, and give those under way so long to end."""
        self._server.config.timeout_graceful_shutdown = math.ceil(seconds)
        self._server.should_exit = True
        self._thread.join()


def _bound(listen: str) -> socket.socket:
    host, port = split_address(listen)
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        return socket.create_server((bare, port), family=family, backlog=2048)
    except OSError as error:
        raise BadInput(
            f"serving.listen: port {port} on {host} is in use, or is not this machine's; set it "
            "to another, or to port 0 for any free one"
        ) from error
