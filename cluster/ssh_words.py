"""Why no connection to a host came about, in a sentence that names the mend."""

from __future__ import annotations

import re
import shlex

from atoll.errors import AtollError, ConfigError
from atoll.provider_sections import SshSection
from cluster.host import Untouched
from cluster.ssh_command import by_hand

_SSH_FAILED = 255
_KILLED = -9  # by us, for its silence
# What ssh says, or the host's shell and Python; what that means, and the mend. {typed} is the
# command that a user would come there with.
_CAUSES = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "shows another key than the one that is known here",
        "find out why; if that is right, forget the old one with ssh-keygen -R, then `{typed}`",
    ),
    (
        r"Host key verification failed",
        "shows a key that is not known here",
        "compare it with the host's own, and accept it: `{typed}`",
    ),
    (
        r"Permission denied \(|Too many authentication failures",
        "does not let you in",
        "`{typed} true` must work without a question: put your public key there (ssh-copy-id)",
    ),
    (
        r"Bad configuration option|Can't open user config file|unknown option|keyword .* argument",
        "cannot be called by ssh as it is told to",
        "see ssh.config and ssh.options",
    ),
    (
        r"No module named",
        "has a {python} without Atoll",
        "install Atoll there, or set ssh.python to the interpreter that has it",
    ),
    (
        r"Unknown option: -P",
        "has a {python} older than 3.11",
        "set ssh.python to the interpreter that has Atoll",
    ),
    (
        r"exec: .*(not found|No such file)|exec: .*: [Pp]ermission denied",
        "has no {python}",
        "set ssh.python to the interpreter that has Atoll",
    ),
)


def why_not(ssh: SshSection, name: str, code: int, said: str) -> AtollError:
    """What to tell of a connection that ended before Atoll answered on the host.

    Args:
        ssh: how it was called.
        name: of the host.
        code: exit code of ssh; 255 if it failed itself, else that of the host's shell.
        said: what both said.

    Returns:
        ConfigError for what has to be mended, Untouched if the host just does not answer.
    """
    typed = shlex.join(by_hand(ssh, name))
    last = next(iter(said.strip().splitlines()[-1:]), f"exit code {code}").strip()
    for pattern, what, mend in _CAUSES:
        if re.search(pattern, said):
            words = f"{what.format(python=ssh.python)} ({last}); {mend.format(typed=typed)}"
            return ConfigError(f"ssh.hosts: {name} {words}")
    if code in {_SSH_FAILED, _KILLED}:
        return Untouched(f"{name} cannot be reached ({last}); try `{typed}`")
    return ConfigError(
        f"ssh.hosts: {name} does not start Atoll ({last}); see ssh.python and ssh.setup"
    )
