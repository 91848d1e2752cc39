"""The Kubernetes API over HTTP, as far as a provider needs it, before a cluster of this process.

Every request is checked: who asks, by a token; whether they may, by the Role that is shipped; the
options, by name; the body, by the published schemas. Every object in an answer is checked as well.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.kubernetes.cluster import KINDS, Cluster, Exists, Full, Invalid
from tests.kubernetes.schemas import META, problems

Tree = dict[str, Any]

RIGHTS = Path(__file__).parents[2] / "deploy" / "kubernetes" / "rights.yaml"
TOKEN = "the-token-of-the-orchestrator"  # noqa: S105 - for this server alone

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<kind>[^/]+)(?:/(?P<name>[^/]+)(?P<log>/log)?)?"
)
_GROUPS = {"jobsets": ("jobset.x-k8s.io", "v1alpha2"), "jobs": ("batch", "v1")}
_VERBS = {"GET": ("list", "get"), "POST": ("create", ""), "DELETE": ("deletecollection", "delete")}
_OPTIONS = {
    "list": {"labelSelector", "fieldSelector"},
    "get": {"container", "tailLines"},
    "create": {"dryRun", "fieldValidation"},
    "delete": {"dryRun", "propagationPolicy", "gracePeriodSeconds"},
    "deletecollection": {"dryRun", "labelSelector", "gracePeriodSeconds"},
}


@dataclass
class Fault:
    """What the server does to the next requests of a sort, instead of what they ask for.

    Attributes:
        verb: of those it befalls, as in a Role.
        kind: likewise.
        code: it answers; 0 for none, as a connection that breaks.
        message: with it; what stands behind "raw:" is no status, as of a proxy.
        times: how often; then all is well.
    """

    verb: str
    kind: str
    code: int
    message: str = "scripted"
    times: int = 1


class Refused(Exception):
    """The answer is a status, and no success."""

    def __init__(self, code: int, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.code, self.kind = code, kind


@dataclass
class Server:
    """A cluster that can be called.

    Attributes:
        cluster: behind it.
        faults: to come.
        delay_s: before every answer.
        used: the rights that were needed so far, as (group, resource, verb).
        bodies: all that was ever sent.
        has_jobsets: whether the JobSet controller is installed.
    """

    cluster: Cluster
    faults: list[Fault] = field(default_factory=list)
    delay_s: float = 0.0
    used: set[tuple[str, str, str]] = field(default_factory=set)
    bodies: list[str] = field(default_factory=list)
    has_jobsets: bool = True
    rights: set[tuple[str, str, str]] = field(default_factory=lambda: rights_of(RIGHTS))
    _checked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        serving = self

        class Handler(_Handler):
            server_ = serving

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self.cluster.stop()

    def kubeconfig(self, path: Path, token: str = TOKEN) -> Path:
        """Write the file by which clients find it."""
        here = {"cluster": "tests", "user": "orchestrator"}
        tree = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{"name": "tests", "context": here}],
            "clusters": [{"name": "tests", "cluster": {"server": self.url}}],
            "users": [{"name": "orchestrator", "user": {"token": token}}],
        }
        path.write_text(yaml.safe_dump(tree))
        return path

    def answer(self, request: _Handler, method: str) -> Any:
        """What a request is answered: an object, or text. Raises: Refused."""
        url = urlsplit(request.path)
        options = dict(parse_qsl(url.query))
        text = request.rfile.read(int(request.headers.get("Content-Length", 0))).decode()
        self.bodies.append(text)
        time.sleep(self.delay_s)
        if request.headers.get("Authorization", "").lower() != f"bearer {TOKEN}":
            raise Refused(401, "Unauthorized")
        found = _PATH.fullmatch(url.path)
        kind, name = (found["kind"], found["name"]) if found else ("", None)
        group, version = _GROUPS.get(kind, (None, "v1"))
        known = found and kind in KINDS and (found["group"], found["version"]) == (group, version)
        if not found or not known or (kind == "jobsets" and not self.has_jobsets):
            raise Refused(404, "raw:404 page not found")
        verb = _VERBS[method][name is not None]
        self._allow(group or "", f"{kind}/log" if found["log"] else kind, verb)
        self._fault(verb, kind)
        if unknown := options.keys() - _OPTIONS[verb]:
            raise Refused(400, f"unknown options {unknown}")
        body: Tree = json.loads(text) if text else {}
        if method == "DELETE" and (wrong := problems(body, f"{META}DeleteOptions")):
            raise Refused(400, "; ".join(wrong))
        if found["namespace"] != self.cluster.namespace and verb != "list":
            raise Refused(404, f'namespaces "{found["namespace"]}" not found', "namespaces")
        with self.cluster.lock, _told(kind):
            answer = self._done(verb, kind, name, options, body, log=bool(found["log"]))
            return answer if isinstance(answer, str) else json.dumps(answer)

    def _done(
        self, verb: str, kind: str, name: str, options: dict[str, str], body: Tree, *, log: bool
    ) -> Any:
        cluster, dry = self.cluster, options.get("dryRun") == "All"
        grace_s = int(options["gracePeriodSeconds"]) if "gracePeriodSeconds" in options else None
        policy = options.get("propagationPolicy", "Background")
        if verb == "create":
            return self._sound(kind, cluster.create(kind, body, dry=dry))
        if verb in {"get", "delete"} and name not in cluster.of(kind):
            raise Refused(404, f'{kind} "{name}" not found', kind)
        if log:
            return cluster.kubelet.log(cluster.of("pods")[name], int(options["tailLines"]))
        if verb == "get":
            return self._sound(kind, cluster.of(kind)[name])
        selected = [tree for tree in cluster.of(kind).values() if _fits(tree, options)]
        if verb == "list":
            trees = [self._sound(kind, tree) for tree in selected]
            return {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": trees}
        names = [name] if name else [tree["metadata"]["name"] for tree in selected]
        for each in names if not dry else ():
            cluster.delete(kind, each, grace_s, policy)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _allow(self, group: str, resource: str, verb: str) -> None:
        if (group, resource, verb) not in self.rights:
            kind = f"{resource}.{group}" if group else resource
            raise Refused(
                403,
                f'{kind} is forbidden: User "orchestrator" cannot {verb} resource "{resource}" in '
                f'API group "{group}" in the namespace "{self.cluster.namespace}"',
                resource,
            )
        self.used.add((group, resource, verb))

    def _fault(self, verb: str, kind: str) -> None:
        for fault in self.faults:
            if (fault.verb, fault.kind) == (verb, kind) and fault.times:
                fault.times -= 1
                raise Refused(fault.code, fault.message, kind)

    def _sound(self, kind: str, tree: Tree) -> Tree:
        text = json.dumps(tree)
        if text not in self._checked:
            found = problems(tree, KINDS[kind])
            assert not found, found
            self._checked.add(text)
        return tree


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_: Server

    def _serve(self) -> None:
        code, kind = 200, ""
        try:
            text = self.server_.answer(self, self.command)
        except Refused as error:
            code, text, kind = error.code, str(error), error.kind
        except Exception as error:  # a mistake in the tests' own server, told to whoever looks on
            code, text = 500, f"the tests' server failed: {error!r}"
        if not code:
            self.close_connection = True
            return
        if code != 200 and not text.startswith("raw:"):
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
            status |= {"message": text, "code": code, "details": {"kind": kind}}
            text = json.dumps(status)
        data = text.removeprefix("raw:").encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - as http.server looks for them

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


def rights_of(path: Path) -> set[tuple[str, str, str]]:
    """What the Role in a file allows, as (group, resource, verb)."""
    return {
        (group, resource, verb)
        for tree in yaml.safe_load_all(path.read_text())
        for rule in tree.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@contextmanager
def _told(kind: str) -> Iterator[None]:
    """Inside, what the cluster refuses becomes the status that tells it."""
    try:
        yield
    except Invalid as error:
        raise Refused(422, f"{kind} is invalid: {error}", kind) from error
    except Exists as error:
        raise Refused(409, f'{kind} "{error}" already exists', kind) from error
    except Full as error:
        raise Refused(403, str(error), kind) from error
    except KeyError as error:
        raise Refused(400, "container is waiting to start", kind) from error


def _fits(tree: Tree, options: dict[str, str]) -> bool:
    """Whether the selectors name an object."""
    labels = {**tree["metadata"].get("labels", {}), "type": tree.get("type")}
    both = ",".join(filter(None, map(options.get, ("labelSelector", "fieldSelector"))))
    wanted = dict(each.split("=") for each in both.split(",") if each)
    return all(labels.get(key) == value for key, value in wanted.items())
