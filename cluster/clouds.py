"""How clouds tell a node that they take it back: by the service that tells nodes of themselves.

Source: the clouds' manuals on spot interruption notices (AWS, with tokens of IMDSv2), the metadata
value ``preempted`` (Google Cloud) and Scheduled Events (Azure).
"""

from __future__ import annotations

import http.client
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from atoll.errors import BadInput

_LINK_LOCAL = "http://169.254.169.254"  # of all three clouds; never routed beyond the machine
_TIMEOUT_S = 2.0
_MOST_BYTES = 1 << 20
_AZURE = {"Metadata": "true"}


class NoAnswer(Exception):
    """The service is not there, or answers what nobody understands."""


class Cloud(ABC):
    """One cloud's way to give notice."""

    name: str

    def __init__(self, url: str = "") -> None:
        """Ask the service of the machine itself, or one at another address.

        Raises:
            BadInput: that is no URL.
        """
        parts = urlsplit(url or _LINK_LOCAL)
        try:
            self._host, self._port = parts.hostname or "", parts.port or 80
        except ValueError:
            self._host = ""
        if parts.scheme != "http" or not self._host:
            raise BadInput(f"--notices-url: {url!r} is no address; write it as http://host:port")

    @abstractmethod
    def notice(self, now: float) -> str:
        """What is to happen to this node, in words; "" as long as nothing is.

        Args:
            now: wall-clock time, seconds since the Unix epoch.

        Raises:
            NoAnswer: nobody knows.
        """

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Status and text; without proxies, and never redirected."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read(_MOST_BYTES).decode()
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def _get(self, path: str, headers: Mapping[str, str]) -> str:
        status, text = self._ask("GET", path, headers)
        if status != http.client.OK:
            raise NoAnswer(f"GET {path} is answered with status {status}")
        return text

    def _words(self, event: str, at: datetime | None, now: float) -> str:
        when = "" if at is None else f" at {at:%H:%M:%S} UTC, {at.timestamp() - now:.0f} s from now"
        return f"{self.name} takes the node back: {event}{when}"


class Aws(Cloud):
    """Amazon's EC2 spot instances: two minutes ahead."""

    name = "AWS"
    _token = ""

    def notice(self, now: float) -> str:
        """See :class:`Cloud`."""
        path = "/latest/meta-data/spot/instance-action"
        status, text = self._ask("GET", path, {"X-aws-ec2-metadata-token": self._renewed()})
        if status == http.client.NOT_FOUND:
            return ""
        if status != http.client.OK:
            self._token = ""  # it may have ended
            raise NoAnswer(f"GET {path} is answered with status {status}")
        told = _object(text)
        if "action" not in told:
            raise NoAnswer("the answer names no action")
        return self._words(str(told["action"]), _iso(told.get("time")), now)

    def _renewed(self) -> str:
        if not self._token:
            lasts = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
            status, text = self._ask("PUT", "/latest/api/token", lasts)
            if status != http.client.OK:
                raise NoAnswer(f"no token is given, but status {status}")
            self._token = text.strip()
        return self._token


class Gcp(Cloud):
    """Google's spot and preemptible machines: half a minute ahead."""

    name = "Google Cloud"

    def notice(self, now: float) -> str:
        """See :class:`Cloud`."""
        path = "/computeMetadata/v1/instance/preempted"
        match self._get(path, {"Metadata-Flavor": "Google"}).strip():
            case "FALSE":
                return ""
            case "TRUE":
                return self._words("preempted, within 30 s", None, now)
        raise NoAnswer(f"GET {path} is answered with neither TRUE nor FALSE")


class Azure(Cloud):
    """Microsoft's spot machines: half a minute ahead, told to all machines of a set."""

    name = "Azure"
    _node = ""

    def notice(self, now: float) -> str:
        """See :class:`Cloud`."""
        told = _object(self._get("/metadata/scheduledevents?api-version=2020-07-01", _AZURE))
        events = told.get("Events")
        for event in events if isinstance(events, list) else ():
            if isinstance(event, dict) and event.get("EventType") == "Preempt":
                # Without a name better to leave in vain than to be taken by surprise.
                whom = event.get("Resources") or ()
                if self._own_name() in {"", *whom}:
                    return self._words("Preempt", _rfc(event.get("NotBefore")), now)
        return ""

    def _own_name(self) -> str:
        if not self._node:
            path = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
            with suppress(NoAnswer):
                self._node = self._get(path, _AZURE).strip()
        return self._node


CLOUDS: Mapping[str, type[Cloud]] = {"aws": Aws, "gcp": Gcp, "azure": Azure}


def _object(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise NoAnswer("the answer is no JSON") from error
    if not isinstance(tree, dict):
        raise NoAnswer("the answer is no object")
    return tree


def _iso(text: Any) -> datetime | None:
    """A time like 2027-01-31T12:00:00Z; None for what is none: the notice counts all the same."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def _rfc(text: Any) -> datetime | None:
    """Likewise, a time like Mon, 31 Jan 2027 12:00:00 GMT."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (TypeError, ValueError):
        return None
