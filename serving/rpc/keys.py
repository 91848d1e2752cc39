"""Who makes a call, by the key it shows."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from atoll.errors import Forbidden

_SCHEME = "bearer "


def owner_by(
    owner_of: Callable[[str], str],
) -> Callable[[grpc.ServicerContext], str]:
    """What tells who makes a call, and refuses with UNAUTHENTICATED who shows no key that counts.

    Args:
        owner_of: who has a key, "" for none; raises Forbidden.
    """

    def owner(context: grpc.ServicerContext) -> str:
        try:
            return owner_of(_token_in(context))
        except Forbidden as error:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))

    return owner


def _token_in(context: grpc.ServicerContext) -> str:
    shown = str(dict(context.invocation_metadata()).get("authorization", ""))
    return shown[len(_SCHEME) :].strip() if shown.lower().startswith(_SCHEME) else ""
