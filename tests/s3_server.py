"""A real S3 endpoint for tests: moto's server on a socket, with a place to interfere."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

Answer = Callable[[], Response]


class S3Server:
    """Serves from a thread until it is stopped.

    Attributes:
        url: the endpoint.
        asked: every request since it was cleared, as ``PUT /bucket/key?partNumber=1``.
        interfere: takes a request and what answers it, and answers in its stead.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._one_at_a_time = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.asked: list[str] = []
        self.reset()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """Interfere no more, and forget what was asked."""
        self.interfere: Callable[[str, Answer], Response] = lambda _, answer: answer()
        self.asked.clear()

    def parts(self) -> list[int]:
        """Numbers of the parts that were sent, in order."""
        sent = [line.partition("partNumber=")[2] for line in self.asked if "PUT" in line]
        return sorted(int(number) for number in sent if number)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, environ, start_response):
        query = environ["QUERY_STRING"]
        # partNumber last, whatever the order
        words = "&".join(sorted(query.split("&"), key=lambda word: word.startswith("partNumber")))
        line = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{words}"
        self.asked.append(line)
        # All of it has to be read, also where nobody answers; then moto may read it again.
        data = Request(environ, populate_request=False).get_data()
        environ |= {"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))}

        def answer() -> Response:
            # moto asks whether a key is there and writes it in two acts; S3 does in one.
            with self._one_at_a_time:
                return Response.from_app(self._app, environ, buffered=True)

        return self.interfere(line, answer)(environ, start_response)
