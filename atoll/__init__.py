"""Atoll trains diffusion models on compute islands that share nothing but a control plane."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atoll.client import Client as Client

__version__ = version("atoll")


def __getattr__(name: str) -> Any:
    """The client, imported when it is asked for: gRPC takes a while."""
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from atoll.client import Client  # noqa: PLC0415

    return Client
