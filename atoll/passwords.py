"""Keeping passwords out of the configuration, and out of whatever people are shown."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

# Up to the last @, because not everybody encodes the one in their password.
_IN_URL = re.compile(r"(://[^:/@]*):[^'\"\s]*@")
_IN_QUERY = re.compile(r"(password\s*=\s*)[^&\s'\"]+")
# Of URLs of data, and of patterns of such, in which a brace may come before the colon.
_USER = re.compile(r"((?:https?|s3)[^\s'\"/]*://)[^/?#\s'\"]*@")
_SIGNED = re.compile(r"(https?[^\s'\"/]*://[^\s'\"?]*\?)[^\s'\"]+")


def hidden(text: str) -> str:
    """The same text with stars for the passwords of its URLs.

    In those of data that is the user as well, who may be a token, and the query, which may sign.
    """
    text = _IN_QUERY.sub(r"\1***", _IN_URL.sub(r"\1:***@", text))
    return _SIGNED.sub(r"\1***", _USER.sub(r"\1***@", text))


def without_password(url: str) -> str:
    """The URL itself, if it holds no password.

    Raises:
        ValueError: it does; the configuration is kept in the run for all who read that.
    """
    if hidden(url) != url:
        raise ValueError(
            "holds a password, and the configuration is kept where others read it; leave it out "
            "of the URL: databases take it from PGPASSWORD or ~/.pgpass, stores from where their "
            "own tools do"
        )
    return url


UrlWithoutPassword = Annotated[str, AfterValidator(without_password)]


def without_credentials(url: str) -> str:
    """The URL of data itself, if it holds no password, no user, and no query.

    Raises:
        ValueError: it does; data are named by it, in the run and wherever they are told of.
    """
    if hidden(url) != url:
        raise ValueError(
            "holds a password, a user or a query, and data are named by it where others read that; "
            "give a plain URL that anyone may read, or one of s3://, whose credentials come from "
            "where S3's own tools take them"
        )
    return url


UrlWithoutCredentials = Annotated[str, AfterValidator(without_credentials)]
