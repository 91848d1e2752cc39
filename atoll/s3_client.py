"""A client of S3, and its errors in the house's words."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from atoll.blob_checks import taken
from atoll.errors import BadInput

try:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionError,  # noqa: A004 - botocore's; not Python's
        HTTPClientError,
        NoCredentialsError,
    )
except ImportError as missing:
    raise BadInput(
        "an s3:// URL needs boto3; run `pip install 'atoll[s3]'`, or give another one"
    ) from missing

_ATTEMPTS = 10  # with botocore's back-off, a quarter of a minute of nobody listening
_CONNECT_S = 10  # of each try, where packets are lost instead of refused
_GONE = {"NoSuchKey", "404"}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "507"}
_LOCKED = {
    "403",
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}


def connect(uri: str) -> Any:
    """A client with boto3's own credentials, region, endpoint and retries.

    Args:
        uri: what is opened, for errors.

    Raises:
        BadInput: the configuration of AWS cannot be used.
    """
    try:
        session = botocore.session.get_session()
        retries: dict[str, Any] = {"mode": "standard"}
        if session.get_config_variable("max_attempts") is None:
            retries["total_max_attempts"] = _ATTEMPTS
        client = boto3.Session(botocore_session=session).client(
            "s3", config=Config(retries=retries, connect_timeout=_CONNECT_S)
        )
    except (BotoCoreError, ValueError) as error:
        raise BadInput(
            f"{uri} cannot be opened ({error}); mend the configuration of AWS on this machine"
        ) from error
    if "@" in urlsplit(client.meta.endpoint_url).netloc:  # else it would stand in every error
        raise BadInput(
            "AWS_ENDPOINT_URL holds a user name or password; take it out and give credentials as "
            "boto3 finds them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return client


def code_of(error: ClientError) -> str:
    """The name S3 gives an error, or the status of a bare answer."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def speaking(name: str, client: Any) -> Iterator[None]:
    """Inside, botocore's errors become what :mod:`atoll.blob_checks` makes sentences of.

    Args:
        name: the key, as a URL.
        client: what is asked.

    Raises:
        BlobExists: the condition "not there yet" does not hold.
        FileNotFoundError: nothing is stored under the key.
        OSError: anything else; ENOSPC where the store is full.
    """
    try:
        yield
    except NoCredentialsError as error:
        raise OSError(
            "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "write ~/.aws/credentials"
        ) from error
    except (ConnectionError, HTTPClientError) as error:
        # The kind alone: its words may hold the URL of a proxy, with a password.
        raise OSError(
            f"{type(error).__name__}: no answer from {client.meta.endpoint_url}; is it up, and is "
            "AWS_ENDPOINT_URL right?"
        ) from error
    except ClientError as error:
        raise _told(error, name) from error


def _told(error: ClientError, name: str) -> Exception:
    code, words = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    if code == "PreconditionFailed":
        return taken(name)
    if code in _GONE:
        return FileNotFoundError(name)
    if code in _FULL:
        return OSError(errno.ENOSPC, f"{code}: {words}")
    if code in _LOCKED:
        return OSError(f"the credentials do not open it: {code}: {words}")
    return OSError(f"{code}: {words}")


def wrote(error: ClientError, client: Any, bucket: str, key: str, checksum: str) -> bool:
    """Whether a refused write had in truth succeeded, and only the answer to it was lost.

    A try that got no answer is repeated by botocore, and the repetition finds the key taken, or the
    upload gone: by the try before.

    Args:
        error: the refusal.
        client: what was asked.
        bucket: where the key is.
        key: as S3 names it.
        checksum: what S3 makes of the bytes that were to be written.
    """
    if not error.response["ResponseMetadata"].get("RetryAttempts"):
        return False
    try:
        found = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError:
        return False
    return bool(found.get("ChecksumSHA256", "").partition("-")[0] == checksum)
