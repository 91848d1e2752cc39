"""A client of a service of images, over gRPC; it needs neither torch nor the run."""

from __future__ import annotations

import contextlib
import json
import math
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Self, TypedDict, Unpack

import grpc

from atoll.address import is_loopback
from atoll.errors import BadInput, Unreachable
from atoll.image_size import Size
from atoll.images import (
    MAX_REQUEST_BYTES,
    About,
    Generated,
    ImageEvent,
    decode_about,
    decode_event,
)
from atoll.statuses import TOLD, error_of
from atoll.wire.v1 import images_pb2 as wire
from atoll.wire.v1 import images_pb2_grpc as rpc

DEFAULT_ADDRESS = "127.0.0.1:8001"
_DEADLINE_S = 10.0  # of a call that ends by itself
_MAX_MESSAGE_BYTES = 64 << 20
_ASK_AGAIN_MS = 30_000  # whether the service is there, which may have gone without a word
_PRIORITIES = {
    "high": wire.PRIORITY_HIGH,
    "normal": wire.PRIORITY_NORMAL,
    "low": wire.PRIORITY_LOW,
}
_MEANT = {  # what a service takes; where its limits are narrower, it says so itself
    "n": "a whole number from 1 to the service's max_images",
    "seed": "a whole number from 0, below 2**63",
    "size": "(width, height) in pixels, one of About.sizes",
    "solver": "a name of About.solvers",
    "steps": "a whole number from 1 to the service's max_steps",
    "guidance": "a number from 0 to the service's max_guidance",
    "strategy": "a name such as top-2; About.strategies has the others",
    "previews": "a whole number from 0 to 1000",
    "priority": "high, normal or low",
    "deadline_s": "a number of seconds, more than 0",
    "cancel_on_disconnect": "True or False",
    "exact": "True or False",
}
# By the channel itself. What has been answered with a single event is never asked for twice.
_RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "atoll.wire.v1.Images"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_CHANNEL = [
    ("grpc.service_config", json.dumps(_RETRIES)),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", _ASK_AGAIN_MS),
    ("grpc.keepalive_timeout_ms", _ASK_AGAIN_MS // 3),
    ("grpc.http2.max_pings_without_data", 0),  # in a queue nothing happens for long
]

Asked = str | int | Sequence[str | int] | None


class Options(TypedDict, total=False):
    """How images are drawn. What is left out goes by the service's own settings.

    Attributes:
        n: how many images; 1.
        seed: of the first image, the next is one more; drawn at random.
        size: width and height in pixels; the first of the model's.
        solver: how the flow is integrated.
        steps: of the solver.
        guidance: 1 is none.
        strategy: how experts are selected, e.g. ``top-2``.
        previews: of each unfinished image, at most; none.
        priority: how urgent it is.
        deadline_s: after which nobody wants them any more; never.
        cancel_on_disconnect: whether the service draws no further once this program is gone, or
            reads no more; for :meth:`Client.generate` it does not, for others it does.
        exact: whether it is to fail where an expert cannot be had, rather than be drawn by the
            others.
    """

    n: int
    seed: int
    size: Size
    solver: str
    steps: int
    guidance: float
    strategy: str
    previews: int
    priority: Literal["high", "normal", "low"]
    deadline_s: float
    cancel_on_disconnect: bool
    exact: bool


class Client:
    """Calls one service; any thread may use it.

    ::

        with atoll.Client("127.0.0.1:8001") as client:
            (image,) = client.generate(class_="3", seed=7)
            image.save("three.png")
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        api_key: str | None = None,
        ca: str | Path | None = None,
    ) -> None:
        """Connect at the first call.

        Args:
            address: ``host:port``. Beyond this machine calls go over TLS.
            api_key: shown with every call.
            ca: file of the authority whose certificate the service shows, as ``atoll certs``
                makes it; None for plain text on this machine, else for those that gRPC trusts.

        Raises:
            BadInput: one of them cannot be used.
        """
        self._who = f"the service at {address}"
        self._is_closed = False
        self._metadata = _metadata(api_key)
        credentials = _credentials(address, ca)
        self._channel = (
            grpc.insecure_channel(address, _CHANNEL)
            if credentials is None
            else grpc.secure_channel(address, credentials, _CHANNEL)
        )
        self._stub = rpc.ImagesStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._is_closed = True
        self._channel.close()

    def about(self) -> About:
        """What can be asked for. Raises: Unreachable, Forbidden."""
        return decode_about(self._call(self._stub.About, wire.AboutRequest()))

    def generate(
        self, prompt: Asked = None, *, class_: Asked = None, **options: Unpack[Options]
    ) -> list[Generated]:
        """Have images drawn, and wait for them.

        Args:
            prompt: or several, which images take in turn.
            class_: by name or number, or several; instead of a prompt.
            options: see :class:`Options`.

        Returns:
            The images, in the order of their seeds.

        Raises:
            BadInput: it cannot be had; names the field.
            Busy: there is no room now.
            Unreachable: the service does not answer, or leaves.
            Forbidden: the API key does not count.
            NotDrawn: it was accepted and could not be drawn.
        """
        options.setdefault("cancel_on_disconnect", True)  # nobody else could ask for them
        events = self.stream(prompt, class_=class_, **options)
        images = [event for event in events if isinstance(event, Generated)]
        return sorted(images, key=lambda image: image.index)

    def stream(
        self, prompt: Asked = None, *, class_: Asked = None, **options: Unpack[Options]
    ) -> Iterator[ImageEvent]:
        """Have images drawn, and look on; closing the iterator ends the call.

        Args:
            prompt: see :meth:`generate`, as for what else there is.
            class_: likewise.
            options: likewise.

        Returns:
            First :class:`Accepted`, last the images; ends once all are there. What the service
            refuses is raised by the first ``next``.
        """
        if prompt is not None and class_ is not None:
            raise BadInput("prompt and class_ are given both; an image has one of them")
        asked = class_ if prompt is None else prompt
        return self._events(self._stub.Generate, _request(asked, options))

    def watch(self, job: str) -> Iterator[ImageEvent]:
        """Look on at a job again, from where it stands.

        Raises:
            NotFound: there is none of this key, or no more.
        """
        return self._events(self._stub.Watch, wire.WatchRequest(job=job))

    def cancel(self, job: str) -> None:
        """Have a job drawn no further.

        Raises:
            NotFound: there is none of this key, or no more.
        """
        self._call(self._stub.Cancel, wire.CancelRequest(job=job))

    def _events(self, method: Any, request: Any) -> Iterator[ImageEvent]:
        self._refuse_closed()
        call = method(request, metadata=self._metadata)
        try:
            for message in call:
                event = decode_event(message.event)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            self._raise(error)
        finally:
            call.cancel()

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        self._refuse_closed()
        try:
            return method(request, timeout=_DEADLINE_S, metadata=self._metadata)
        except grpc.RpcError as error:
            self._raise(error)

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise BadInput(f"this client of {self._who} is closed; make another one")

    def _raise(self, error: Any) -> NoReturn:
        code, details = error.code(), error.details() or ""
        if code is not grpc.StatusCode.UNAVAILABLE:
            raise error_of(code, details, self._who) from error
        if dict(error.trailing_metadata() or ()).get(TOLD):
            raise Unreachable(f"{self._who} takes nothing: {details}") from error
        raise Unreachable(
            f"{self._who} does not answer ({details}); start one with `atoll serve`, or give the "
            "address of one that answers, and the ca of its certificate if it has one"
        ) from error


def _request(asked: Asked, options: Options) -> wire.GenerateRequest:
    """What is asked for. Raises: BadInput, an option has no meaning; names it."""
    words = [asked] if isinstance(asked, str | int) else asked or ()
    request = wire.GenerateRequest(conditions=[str(word) for word in words])
    given: dict[str, Any] = dict(options)
    for name, value in given.items():
        if name not in _MEANT:
            known = ", ".join(("prompt", "class_", *_MEANT))
            raise BadInput(f"there is no option {name!r}; there are {known}")
        with _named(name, value):
            match name:
                case "n":
                    request.num = value
                case "size":
                    request.width, request.height = map(_positive, value)
                case "deadline_s":
                    request.deadline_s = _positive(value)
                case "priority":
                    request.priority = _PRIORITIES[value]
                case _:
                    setattr(request, name, value)
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise BadInput(
            f"prompt or class_ is too long: the request has {request.ByteSize():,} bytes, and "
            "64 KiB are the most; give a shorter one, or fewer"
        )
    return request


def _positive(value: Any) -> Any:
    """A number that bounds something. Raises: ValueError, it is 0, less or infinite."""
    if not 0 < value < math.inf:
        raise ValueError(value)
    return value


@contextlib.contextmanager
def _named(name: str, value: Any) -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise BadInput(f"{name} = {value!r} cannot be asked for; give {_MEANT[name]}") from error


def _metadata(api_key: str | None) -> tuple[tuple[str, str], ...]:
    if api_key is None:
        return ()
    if not is_key(api_key):  # and it is not shown
        raise BadInput(
            "api_key is no API key; give the line that `atoll key` wrote, or leave it out"
        )
    return (("authorization", f"Bearer {api_key.strip()}"),)


def is_key(text: str) -> bool:
    """Whether it could be an API key: one word of ASCII."""
    return text.isascii() and text.strip().isprintable() and len(text.split()) == 1


def _credentials(address: str, ca: str | Path | None) -> grpc.ChannelCredentials | None:
    """How to know the service; None for plain text."""
    try:
        is_here = is_loopback(address)
    except (ValueError, AttributeError) as error:
        raise BadInput(
            f"{address!r} is no address; write it as host:port, e.g. {DEFAULT_ADDRESS}"
        ) from error
    if ca is None:
        return None if is_here else grpc.ssl_channel_credentials()
    mend = "give the ca.crt that `atoll certs` made"
    try:
        authority = Path(ca).read_bytes()
    except OSError as error:
        raise BadInput(f"ca = {str(ca)!r} cannot be read ({error.strerror}); {mend}") from error
    try:  # gRPC would say so at the first call, in its own log
        certificates = authority.decode("ascii", "ignore")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError) as error:
        raise BadInput(f"ca = {str(ca)!r} holds no certificate; {mend}") from error
    return grpc.ssl_channel_credentials(authority)
