"""Keeping passwords out of the configuration, and out of whatever people are shown."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

# Up to the last @, because not everybody encodes the one in their password.
_IN_URL = re.compile(r"(://[^:/@]*):[^'\"\s]*@")
_IN_QUERY = re.compile(r"(password\s*=\s*)[^&\s'\"]+")


def hidden(text: str) -> str:
    """The same text with stars for the passwords of its URLs."""
    return _IN_QUERY.sub(r"\1***", _IN_URL.sub(r"\1:***@", text))


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
