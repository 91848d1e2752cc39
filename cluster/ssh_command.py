"""How OpenSSH's own program is called, as a section of the configuration asks."""

from __future__ import annotations

import ipaddress
import re
import shlex
import socket
import subprocess
from pathlib import Path

from atoll.provider_sections import SshSection

# Whatever the user's own configuration says.
_FIRM = (
    *("-T", "-a", "-x"),  # no terminal; neither keys nor a screen are lent to the host
    "-oBatchMode=yes",
    "-oLogLevel=ERROR",
    "-oControlPath=none",  # whether the host still answers is found out by this very connection
    "-oRemoteCommand=none",
    "-oClearAllForwardings=yes",
)
_LONGEST_NAME = 50  # of a node; its agent adds an ending for each start
_UNLESS_TOLD = ("-oConnectTimeout=10", "-oServerAliveInterval=5", "-oServerAliveCountMax=3")


def by_hand(ssh: SshSection, host: str) -> list[str]:
    """What a user types to come to a host the same way."""
    return ["ssh", *_config(ssh), *ssh.options, host]


def connecting(ssh: SshSection, host: str, label: str) -> list[str]:
    """What connects to :mod:`cluster.host` there.

    Args:
        ssh: how.
        host: as ssh knows it.
        label: of the run.
    """
    options = [*_config(ssh), *_FIRM, *ssh.options, *_UNLESS_TOLD]
    return ["ssh", *options, "--", host, _far_end(ssh, label, node_name(host))]


def node_name(host: str) -> str:
    """What an island's node on a host is called: as the host, in letters that such names have."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", host.rpartition("@")[2]).lstrip("._-")
    return name[:_LONGEST_NAME] or "node"


def leads_here(ssh: SshSection, host: str) -> bool:
    """Whether a host is this very machine, by its loopback.

    Raises:
        OSError: nobody can tell.
        UnicodeError: it is called as no host can be.
    """
    command, *rest = by_hand(ssh, host)
    asked = [command, "-G", *rest]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    settings = dict(line.split(" ", 1) for line in told.splitlines() if " " in line)
    if "hostname" not in settings or settings.keys() & {"proxyjump", "proxycommand"}:
        return False
    found = socket.getaddrinfo(settings["hostname"], None)
    return all(ipaddress.ip_address(each[4][0]).is_loopback for each in found)


def _config(ssh: SshSection) -> list[str]:
    return ["-F", str(Path(ssh.config).expanduser())] if ssh.config else []


def _far_end(ssh: SshSection, label: str, node: str) -> str:
    """What the user's shell on the host is given, whichever that is: a line for a POSIX shell."""
    python = shlex.quote(ssh.python)
    if ssh.python.startswith("~/"):
        python = f'"$HOME"/{shlex.quote(ssh.python[2:])}'
    arguments = shlex.join(["-P", "-m", "cluster.host", ssh.folder, label, node])
    # What setup reads and writes must not be taken for calls and answers.
    script = f"{{ :\n{ssh.setup}\n}} </dev/null >&2\nexec {python} {arguments}"
    return f"exec sh -c {shlex.quote(script)}"
