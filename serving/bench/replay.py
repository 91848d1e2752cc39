"""Sends the requests of a trace when they are due, whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx2

from atoll.address import is_loopback
from atoll.errors import BadInput, Unreachable
from serving.bench.tally import REFUSED, Answer
from serving.bench.trace import Arrival

_MOST_WORDS = 120  # characters of a server's message that are kept
_REFUSED = {"n": 0}  # where no prompt is needed, {} would be drawn, and paid for
_NOT_HERE = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who is asked.

    Attributes:
        url: in front of ``/images/generations``.
        key: is sent as a bearer token; "" for none.
        timeout_s: after which a request is given up.
    """

    url: str
    key: str = field(repr=False)
    timeout_s: float

    def client(self) -> httpx2.AsyncClient:
        """One that opens as many connections as there are requests.

        Raises:
            BadInput: the URL is none, or the key could be read on its way.
        """
        try:
            url = httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise BadInput(f"{self.url!r} is no URL: {error}") from error
        if url.scheme not in {"http", "https"} or not url.host:
            raise BadInput(f"{self.url!r} is no URL; write it as http://127.0.0.1:8000/v1")
        address = url.netloc.decode() + ("" if url.port else ":80")
        if self.key and url.scheme == "http" and not is_loopback(address):
            raise BadInput(f"the key could be read on its way to {url.host}; give an https:// URL")
        return httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {self.key}"} if self.key else None,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
            timeout=None,  # one for the whole request, see _outcome
        )


async def replay(
    trace: Sequence[Arrival], endpoint: Endpoint, told: Callable[[int], None]
) -> list[Answer]:
    """Send all requests of a trace.

    Args:
        trace: in the order of their times.
        endpoint: whom to ask.
        told: how many are answered, at each answer.

    Returns:
        An answer to each request, in their order.

    Raises:
        BadInput: the URL is none, or nobody draws there, or who asks is not let in.
        Unreachable: nobody is there.
    """
    num_answered = 0

    def answered(_: asyncio.Task[Answer]) -> None:
        nonlocal num_answered
        num_answered += 1
        told(num_answered)

    async with endpoint.client() as client:
        await _knock(client, endpoint)
        begun_at = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for arrival in trace:
                await asyncio.sleep(arrival.at_s - (time.perf_counter() - begun_at))
                tasks.append(group.create_task(_ask(client, endpoint, arrival, begun_at)))
                tasks[-1].add_done_callback(answered)
    return [task.result() for task in tasks]


async def _knock(client: httpx2.AsyncClient, endpoint: Endpoint) -> None:
    """Find out beforehand what would fail every request."""
    try:
        async with asyncio.timeout(endpoint.timeout_s):
            response = await client.get("models")
            if response.status_code in _NOT_HERE:  # some draw and list no models
                response = await client.post("images/generations", json=_REFUSED)
    except (httpx2.HTTPError, TimeoutError) as error:
        raise Unreachable(f"nobody answers at {endpoint.url}: {_words(error)}") from error
    if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise BadInput(
            f"{endpoint.url} does not let you in ({_message(response)}); "
            "put a key into OPENAI_API_KEY"
        )
    if response.status_code in _NOT_HERE:
        raise BadInput(
            f"nothing at {endpoint.url} draws images ({response.status_code}); give the URL of an "
            "OpenAI-compatible endpoint in front of /images/generations, e.g. "
            "http://127.0.0.1:8000/v1"
        )


async def _ask(
    client: httpx2.AsyncClient, endpoint: Endpoint, arrival: Arrival, begun_at: float
) -> Answer:
    sent_at = time.perf_counter() - begun_at
    num_images, failure = await _outcome(client, endpoint, arrival)
    ended_at = time.perf_counter() - begun_at
    return Answer(arrival.at_s, sent_at, ended_at, num_images, failure)


async def _outcome(
    client: httpx2.AsyncClient, endpoint: Endpoint, arrival: Arrival
) -> tuple[int, str]:
    """How many images came; or why none did."""
    try:
        async with asyncio.timeout(endpoint.timeout_s):
            response = await client.post("images/generations", json=arrival.body)
    except TimeoutError:
        return 0, f"no answer within {endpoint.timeout_s:g} s"
    except httpx2.HTTPError as error:
        return 0, _words(error)
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return 0, REFUSED
    if not response.is_success:
        return 0, f"{response.status_code}: {_message(response)}"
    try:
        images = response.json()["data"]
        num_images = sum(bool(image.get("b64_json") or image.get("url")) for image in images)
    except (ValueError, TypeError, KeyError, AttributeError):
        num_images = 0
    return num_images, "" if num_images else "an answer without images"


def _message(response: httpx2.Response) -> str:
    """What a server says of an error, in OpenAI's form or its own."""
    try:
        text = str(response.json()["error"]["message"])
    except (ValueError, TypeError, KeyError):
        text = response.text.strip() or response.reason_phrase
    return (text.splitlines() or [""])[0][:_MOST_WORDS]


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
