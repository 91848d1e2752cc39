"""Where a URL is read from: HTTP, or S3. One request each; who asks again is :mod:`.stream`."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import mktime_tz, parsedate_tz
from typing import Any, Protocol
from urllib.parse import urlsplit

from atoll.errors import BadInput

_QUIET_S = 60  # of a connection, after which it counts as broken
_OVERLOADED, _NOT_IMPLEMENTED = 429, 501
_WITHOUT_MD5 = {"aws:kms", "aws:kms:dsse"}  # encrypted so, an object's ETag is not its MD5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")  # such as "bytes 100-199/200"
_MD5 = re.compile(r"[0-9a-fA-F]{32}")


class Unavailable(Exception):
    """A URL could not be read.

    Attributes:
        reason: why, as the end of a sentence that begins with the URL.
        passing: whether another try may succeed.
        after_s: seconds the server asked to wait before that; None if it did not.
    """

    def __init__(self, reason: str, *, passing: bool, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.passing, self.after_s = reason, passing, after_s


class Damaged(Exception):
    """The bytes that came are not those that are stored, by the server's own checksum."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes of a URL as they come.

    Attributes:
        read: gives some of them, at most so many, at last none.
        close: ends the connection.
        first: where in the whole they begin.
        total: bytes of the whole; None where the server does not tell.
        version: changes with the content; None where the server does not tell.
        digests: hex by the name of the hash, of the whole.
    """

    read: Callable[[int], bytes]
    close: Callable[[], None]
    first: int
    total: int | None
    version: str | None
    digests: Mapping[str, str]


class Origin(Protocol):
    """Something with a URL whose bytes can be asked for."""

    def ask(self, first: int) -> Answer:
        """Bytes from a place on, or from an earlier one.

        Raises:
            Unavailable: there is no answer, here and while it is read.
            Damaged: the server's own checksum does not hold, at its end.
        """
        ...

    def beside(self) -> str | None:
        """The text of the file of that name with ``.sha256`` after it; None if there is none.

        Raises:
            Unavailable: there is no answer.
        """
        ...


class HttpOrigin:
    """What a web server gives for a URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, first: int) -> Answer:
        """See :class:`Origin`."""
        response = self._opened(self._url, {"Range": f"bytes={first}-"} if first else {})
        try:
            begins, total = _extent(response.headers, partial=response.status == 206)
        except Unavailable:
            response.close()
            raise

        def read(num: int) -> bytes:
            with _broken_is_passing():
                data: bytes = response.read1(num)  # what is there: it is kept if the next breaks
                return data

        headers = response.headers
        version = headers.get("ETag") or headers.get("Last-Modified")
        return Answer(read, response.close, begins, total, version, {})

    def beside(self) -> str | None:
        """See :class:`Origin`."""
        parts = urlsplit(self._url)
        url = parts._replace(path=f"{parts.path}.sha256").geturl()
        try:
            with self._opened(url, {}) as response, _broken_is_passing():
                text: bytes = response.read(_SIDE_BYTES)
                return text.decode(errors="replace")
        except _Refused as error:
            if error.passing:
                raise
            return None  # however the server says so

    def _opened(self, url: str, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(  # noqa: S310 - http or https, by origin_of
            url, headers={"Accept-Encoding": "identity", "User-Agent": "atoll", **headers}
        )
        try:
            return urllib.request.urlopen(request, timeout=_QUIET_S)  # noqa: S310
        except urllib.error.HTTPError as error:
            error.close()
            raise _Refused(
                f"the server answers {error.code} {error.reason}",
                error.code,
                _asked_pause(error.headers),
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise _no_answer(error) from error


class S3Origin:
    """An object in a bucket.

    Args:
        url: ``s3://bucket/key``.
        client: of boto3.
    """

    def __init__(self, url: str, client: Any) -> None:
        self._bucket, _, self._key = url.removeprefix("s3://").partition("/")
        self._client = client
        self._version: str | None = None

    def ask(self, first: int) -> Answer:
        """See :class:`Origin`."""
        wanted: dict[str, str] = {"Range": f"bytes={first}-"} if first else {}
        if self._version is not None:
            wanted["IfMatch"] = self._version
        got = self._got(self._key, ChecksumMode="ENABLED", **wanted)
        self._version = got["ETag"]

        def read(num: int) -> bytes:
            with _botocore_told():
                data: bytes = got["Body"].read(num)
                return data

        total = first + int(got["ContentLength"])
        return Answer(read, got["Body"].close, first, total, self._version, _digests(got))

    def beside(self) -> str | None:
        """See :class:`Origin`."""
        try:
            got = self._got(f"{self._key}.sha256")
        except _Refused as error:
            if error.passing:
                raise
            return None  # 403 to those who may not list the bucket
        with _botocore_told():
            text: bytes = got["Body"].read(_SIDE_BYTES)
            return text.decode(errors="replace")

    def _got(self, key: str, **wanted: str) -> Any:
        with _botocore_told():
            return self._client.get_object(Bucket=self._bucket, Key=key, **wanted)


_SIDE_BYTES = 4096


class Origins:
    """Makes the origin of each URL of a data set; those in S3 share one client."""

    def __init__(self) -> None:
        self._client: Any = None

    def of(self, url: str) -> Origin:
        """What answers for a URL that begins with ``http://``, ``https://`` or ``s3://``.

        Raises:
            BadInput: S3 cannot be used here.
        """
        if urlsplit(url).scheme != "s3":
            return HttpOrigin(url)
        if self._client is None:
            from atoll.s3_client import connect  # noqa: PLC0415 - boto3 is an extra

            self._client = connect(url)
        return S3Origin(url, self._client)


class _Refused(Unavailable):
    """The server answered with a status that is no success."""

    def __init__(self, reason: str, status: int, after_s: float | None = None) -> None:
        passing = status == _OVERLOADED or (status >= 500 and status != _NOT_IMPLEMENTED)
        super().__init__(reason, passing=passing, after_s=after_s)


def _extent(headers: Mapping[str, str], *, partial: bool) -> tuple[int, int | None]:
    """Where a body begins in the whole, and how long that is."""
    if partial:
        told = headers.get("Content-Range", "")
        if (found := _CONTENT_RANGE.match(told)) is None:
            raise Unavailable(
                f"the server gives a part and does not tell which (Content-Range: {told!r})",
                passing=False,
            )
        return int(found[1]), int(found[2]) if found[2].isdecimal() else None
    length = headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _asked_pause(headers: Mapping[str, str] | Message) -> float | None:
    """Seconds that ``Retry-After`` asks for, by number or by date (RFC 9110, section 10.2.3).

    A date is held against the server's own, whose clock may differ from this one.
    """
    told = headers.get("Retry-After", "").strip()
    if told.isdecimal():
        return float(told)
    until, now = _moment(told), _moment(headers.get("Date", "")) or time.time()
    return None if until is None else max(0.0, until - now)


def _moment(date: str) -> float | None:
    """A date of HTTP as seconds since 1970; None if it is none."""
    parts = parsedate_tz(date)
    try:
        return None if parts is None else mktime_tz(parts)
    except (ValueError, OverflowError):
        return None


def _no_answer(error: Exception) -> Unavailable:
    return Unavailable(f"no answer ({str(error) or type(error).__name__})", passing=True)


@contextlib.contextmanager
def _broken_is_passing() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(error) from error


@contextlib.contextmanager
def _botocore_told() -> Iterator[None]:
    """Inside, errors of botocore become those of an origin."""
    from botocore import exceptions  # noqa: PLC0415 - boto3 is an extra

    try:
        yield
    except exceptions.ClientError as error:
        told = error.response.get("Error", {})
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        words = f"S3 answers {told.get('Code', status)}: {told.get('Message', '')}".rstrip(": ")
        # botocore has the names of headers in lower case.
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        told_to = {name.title(): value for name, value in headers.items()}
        raise _Refused(words, status, _asked_pause(told_to)) from error
    except exceptions.NoCredentialsError as error:
        raise BadInput(
            "no AWS credentials were found to read data.path with; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials"
        ) from error
    except exceptions.FlexibleChecksumError as error:
        raise Damaged(str(error)) from error
    except (exceptions.BotoCoreError, OSError) as error:
        # The kind alone: its words may hold the URL of a proxy, with a password.
        raise Unavailable(f"no answer ({type(error).__name__})", passing=True) from error


def _digests(got: Mapping[str, Any]) -> dict[str, str]:
    """What S3 tells of the whole object: hashes of its parts' hashes are of no use here."""
    checksum, etag = got.get("ChecksumSHA256", ""), got["ETag"].strip('"')
    if checksum and "-" not in checksum:
        return {"sha256": base64.b64decode(checksum).hex()}
    encrypted = got.get("ServerSideEncryption") in _WITHOUT_MD5 or "SSECustomerAlgorithm" in got
    # Stores that only speak S3's language may tell anything else there.
    return {"md5": etag.lower()} if _MD5.fullmatch(etag) and not encrypted else {}
