"""The application behind a port, in a thread of its own."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from atoll.address import answers_at, split_address
from atoll.authority import seconds_left
from atoll.credentials import SERVER, read_pair
from atoll.errors import BadInput, ConfigError
from serving.rest.connection import MORE, Connection, most_connections
from serving.rest.listening import Loop, listen_on

_LOOK_S = 0.01
_END_S = 1  # in which the application hears of those it can tell no more


class RestServer:
    """See :class:`serving.process.FrontEnd`."""

    def __init__(self, app: FastAPI, listen: str, tls: str = "") -> None:
        """Answer nobody yet.

        Args:
            app: see :func:`serving.rest.app.make_app`.
            listen: ``host:port``; port 0 takes any free one.
            tls: folder of certificates; "" for plain text.

        Raises:
            ConfigError: the server's certificate cannot be used.
        """
        self._listen, self._scheme = listen, "https" if tls else "http"
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,  # as this process logs
            log_level="warning",
            access_log=False,
            server_header=False,
            http=Connection,
            loop=f"{Loop.__module__}:{Loop.__qualname__}",
            **_secured(tls),
        )
        self._server = uvicorn.Server(config)

    def start(self) -> str:
        """See :class:`serving.process.FrontEnd`."""
        taken = listen_on(self._listen, most_connections() + MORE)
        work = threading.Thread(target=self._server.run, args=([taken],), name="rest", daemon=True)
        self._thread = work
        host, port = split_address(self._listen)[0], taken.getsockname()[1]
        work.start()
        while not self._server.started:
            if not work.is_alive():
                raise BadInput(f"nothing listens on {self._listen}; the log says why")
            time.sleep(_LOOK_S)
        return f"{self._scheme}://{answers_at(host, port)}"

    def leave(self) -> None:
        """See :class:`serving.process.FrontEnd`; ``/readyz`` asks the service itself."""

    def stop(self, grace_s: float) -> None:
        """See :class:`serving.process.FrontEnd`."""
        self._server.config.timeout_graceful_shutdown = math.ceil(grace_s) + _END_S
        self._server.should_exit = True
        self._thread.join(grace_s)
        for each in list(self._server.server_state.connections):  # uvicorn would log a trace of it
            with suppress(RuntimeError):  # its loop has just ended
                each.loop.call_soon_threadsafe(each.transport.abort)
        self._thread.join()


def _secured(tls: str) -> dict[str, Any]:
    if not tls:
        return {}
    folder = Path(tls)
    try:
        pair = read_pair(folder, SERVER)
    except ConfigError as error:
        raise ConfigError(f"serving.tls: {error}") from error
    if seconds_left(pair.certificate, time.time()) < 0:
        raise ConfigError(f"serving.tls: server.crt in {tls} has ended; run `atoll certs {tls}`")
    return {"ssl_certfile": folder / f"{SERVER}.crt", "ssl_keyfile": folder / f"{SERVER}.key"}
