"""The server's certificate as its folder has it: a renewed one is taken without a restart."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import grpc

from atoll import authority
from atoll.address import split_address
from atoll.authority import Pair
from atoll.clock import Clock
from atoll.credentials import CA, SERVER, read_pair, refuse_foreign, server_credentials
from atoll.errors import ConfigError
from atoll.private_files import version_of

log = logging.getLogger(__name__)

_FILES = (f"{SERVER}.key", f"{SERVER}.crt")


class ServerCertificate:
    """Certificate and key of one server.

    Each handshake looks whether there are others; such that could serve nobody change nothing.
    """

    def __init__(self, folder: Path, listen: str, clock: Clock) -> None:
        """Read them.

        Args:
            folder: of certificates.
            listen: address the server listens at, for which they must serve.
            clock: whose wall clock ends certificates.

        Raises:
            ConfigError: they are missing, or could serve nobody.
        """
        self._folder = folder
        self._listen = listen
        self._clock = clock
        self._lock = threading.Lock()
        self.authority = read_pair(folder, CA)
        self._seen = self._files()
        self._pair = self._read()

    @property
    def credentials(self) -> grpc.ServerCredentials:
        """As a server takes them, now and whenever they are renewed."""
        return server_credentials(self._pair, self.authority.certificate, self._renewed)

    def _renewed(self) -> Pair | None:
        """Certificate and key if they are others than at the last handshake, and serve."""
        with self._lock:
            there = self._files()
            if there == self._seen:
                return None
            self._seen = there
            try:
                self._pair = self._read()
            except ConfigError as error:
                fields = {
                    "error": str(error),
                    "until": f"{self._pair.certificate.not_valid_after_utc}",
                }
                log.error("serves on with the former certificate", extra={"fields": fields})  # noqa: TRY400
                return None
            log.info("serves with a renewed certificate")
            return self._pair

    def _read(self) -> Pair:
        pair = read_pair(self._folder, SERVER)
        mend = f"run `atoll certs {self._folder}"
        if authority.seconds_left(pair.certificate, self._clock.wall()) < 0:
            raise ConfigError(f"server.crt in {self._folder} has ended; {mend}`")
        refuse_foreign(pair, self.authority.certificate, self._folder, SERVER)
        host = split_address(self._listen)[0].strip("[]")
        hosts = authority.hosts_in(pair.certificate)
        if host not in {*hosts, "0.0.0.0", "::"}:  # noqa: S104 - there it is called by other names
            raise ConfigError(
                f"server.crt in {self._folder} is for {', '.join(hosts)}, and orchestrator.listen "
                f"names {host}; {mend} --host {host}`"
            )
        return pair

    def _files(self) -> list[tuple[int, int, int]]:
        return [version_of(self._folder / name) for name in _FILES]
