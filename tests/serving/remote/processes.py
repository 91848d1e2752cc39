"""A gateway and servers of experts as real processes: how they are asked, and where they are."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass

import psutil

from atoll.__main__ import main
from tests.integration.runs import words_of
from tests.namespaces import network


def ask(rest, **wish):
    """Images by a service, as PNGs, and what else it says of each."""
    body = json.dumps({"prompt": "3", "strategy": "full", **wish}).encode()
    call = urllib.request.Request(  # noqa: S310 - of this machine
        f"{rest}/v1/images/generations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call, timeout=120) as answer:  # noqa: S310
        data = json.load(answer)["data"]
    return [base64.b64decode(each.pop("b64_json")) for each in data], data


@dataclass
class Server:
    """``atoll serve-expert`` as a process."""

    process: subprocess.Popen[str]
    address: str
    log: object


def served_by(rest):
    """How many servers of each expert a gateway may ask, as it tells Prometheus."""
    with urllib.request.urlopen(f"{rest}/metrics", timeout=10) as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()
    told = (each for each in lines if each.startswith("atoll_expert_servers{"))
    return [int(float(each.split()[1])) for each in told]


def of_peer(lab):
    """The processes of a lab's peer: its own, and what it has started."""
    its = {"peer", str(lab / "ca.crt")}
    (peer,) = (each for each in psutil.Process().children() if its <= set(words_of(each)))
    return [*peer.children(recursive=True), peer]


@contextlib.contextmanager
def secured_hosts(*names, folder):
    """Hosts of a network, and certificates for servers on them."""
    lab = folder / "lab"
    with network(*names) as net:
        hosts = [word for each in net.addresses.values() for word in ("--host", each)]
        with contextlib.suppress(SystemExit):
            main(["certs", str(lab), *hosts, "--gateway", "web"])
        yield net, lab


def on_each(net, lab, serve_expert):
    """A server of both experts on each host."""
    begun = [
        serve_expert(
            *(0, 1),
            settings=[f"expert_server.listen={address}:8210", f"expert_server.tls={lab}"],
            within=net.within(name),
        )
        for name, address in net.addresses.items()
    ]
    return [serve_expert.ready(each) for each in begun]
