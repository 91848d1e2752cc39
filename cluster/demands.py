"""Whether what a configuration asks of islands fits what their providers can give."""

from __future__ import annotations

from atoll.address import is_loopback
from atoll.config import Config
from atoll.errors import ConfigError
from cluster.provider import Capabilities


def refuse_unheard(config: Config, capabilities: Capabilities) -> None:
    """Refuse to start islands on machines that cannot call. Raises: ConfigError."""
    listen = config.orchestrator.listen
    if capabilities.elsewhere and is_loopback(listen):
        raise ConfigError(
            f"orchestrator.listen = {listen} is heard on this machine alone, and islands of "
            f"{', '.join(config.island.shares)} may run on others; set it to 0.0.0.0:7000, say, "
            "and orchestrator.tls to a folder of certificates (`atoll certs`)"
        )
