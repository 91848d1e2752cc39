"""The near end of a connection to a host: OpenSSH's own program, and :mod:`cluster.host` behind it.

One is kept for as long as it holds, so that a call costs no handshake and no start of Python.
"""

from __future__ import annotations

import json
from typing import Any

from atoll import __version__
from atoll.errors import ConfigError, IslandError
from atoll.provider_sections import SshSection
from cluster.dialogue import Dialogue
from cluster.host import Untouched
from cluster.ssh_command import connecting
from cluster.ssh_words import why_not

_CONNECT_S = 60.0  # until Atoll answers there, which a cold disk may delay
_ANSWER_S = 30.0
_SHOWN = 100  # characters of what is not understood
_ERRORS = {kind.__name__: kind for kind in (ConfigError, Untouched, IslandError)}


class Link:
    """Makes calls to one host, one at a time."""

    def __init__(self, ssh: SshSection, name: str, label: str) -> None:
        """Connect at the first call.

        Args:
            ssh: how.
            name: of the host.
            label: of the run.
        """
        self._ssh = ssh
        self._name = name
        self._command = connecting(ssh, name, label)
        self._dialogue: Dialogue | None = None
        self.greeting: dict[str, Any] = {}  # of the host, when it last came up

    def call(self, name: str, *given: Any) -> Any:
        """What :class:`cluster.host.Host` answers.

        Raises:
            ConfigError: the host, or how it is called, has to be mended.
            Untouched: it does not answer, or declines; nothing has changed there.
            IslandError: nobody knows what became of the call.
        """
        if self._dialogue is None or self._dialogue.is_over:
            self._connect()
        assert self._dialogue is not None
        try:
            self._dialogue.say(json.dumps([name, *given]))
            heard = self._dialogue.hear(_ANSWER_S)
        except (OSError, EOFError) as error:
            _, said = self._dialogue.end()
            last = next(iter(said.strip().splitlines()[-1:]), str(error))
            raise IslandError(f"{self._name} broke off ({last})") from error
        try:
            answer = json.loads(heard)
            if "error" not in answer:
                return answer["value"]
            refusal = _ERRORS[answer["error"]](f"{self._name}: {answer['words']}")
        except (ValueError, LookupError, TypeError) as error:
            self._dialogue.end()  # the next line may be this call's answer
            words = f"{self._name} answers what nobody understands: {heard[:_SHOWN]!r}"
            raise IslandError(words) from error
        raise refusal

    def _connect(self) -> None:
        """Raises: ConfigError; Untouched."""
        if self._dialogue:
            self._dialogue.end()
            self._dialogue = None
        try:
            dialogue = Dialogue(self._command)
        except OSError as error:
            raise ConfigError(
                f'island.provider = "ssh" needs the program ssh here ({error.strerror}); install '
                "OpenSSH's client"
            ) from error
        heard: list[str] = []  # start-up files of shells may write, too
        try:
            while not (heard and heard[-1].startswith('{"atoll":')):
                heard.append(dialogue.hear(_CONNECT_S))
        except (TimeoutError, EOFError) as error:
            code, said = dialogue.end()
            words = "\n".join([*heard, said or str(error)])
            raise why_not(self._ssh, self._name, code, words) from error
        self._dialogue, self.greeting = dialogue, json.loads(heard[-1])
        if self.greeting["atoll"] != __version__:
            dialogue.end()
            raise ConfigError(
                f"ssh.hosts: {self._name} has Atoll {self.greeting['atoll']}, and this machine "
                f"{__version__}; install the same on both"
            )
