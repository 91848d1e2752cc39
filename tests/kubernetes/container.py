"""The containers of pods, as processes of this machine.

They have no mount namespaces: where a container names a path at which a volume is mounted, it is
given the volume's own folder. A claim is a folder of this machine, at the path it is mounted at.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil

from cluster import processes

Tree = dict[str, Any]


class Container:
    """The one container of a pod, once it was begun."""

    def __init__(self, pod: Tree, secrets: dict[str, Tree], folder: Path) -> None:
        """Begin it.

        Args:
            pod: whose.
            secrets: of its namespace, by name.
            folder: for its volumes and its log.

        Raises:
            KeyError: a secret it needs is not there.
        """
        spec = pod["spec"]["containers"][0]
        self.folder = folder
        self.log = folder / "log"
        self._over = False
        places = self._mounted(pod, secrets)
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        env |= {each["name"]: _placed(_value(each, pod), places) for each in spec.get("env", ())}
        for each in spec.get("envFrom", ()):
            env |= _opened(secrets[each["secretRef"]["name"]])
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [_placed(word, places) for word in spec["command"]],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Its exit code, as a shell would tell it; None while it runs."""
        code = self._process.poll()
        if code is not None and not self._over:
            self._end()  # the others end with the first
            self._over = True
        return 128 - code if code is not None and code < 0 else code

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._end()
        self._process.wait()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.kill(psutil.Process(self._process.pid).children(recursive=True))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        processes.kill(processes.working_in(self.folder))

    def _mounted(self, pod: Tree, secrets: dict[str, Tree]) -> dict[str, str]:
        """Where each of its volumes is, by the path it is mounted at."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        places = {}
        for mount in pod["spec"]["containers"][0].get("volumeMounts", ()):
            volume = volumes[mount["name"]]
            if "persistentVolumeClaim" in volume:
                continue
            place = self.folder / mount["name"]
            contents = {}
            if "secret" in volume:
                contents = _opened(secrets[volume["secret"]["secretName"]])
            place.mkdir(parents=True, exist_ok=True)
            for name, value in contents.items():
                file = place / name
                file.write_text(value)
                # As a kubelet does where the pod has an fsGroup.
                file.chmod(volume["secret"]["defaultMode"] | 0o040)
            places[mount["mountPath"]] = str(place)
        return places


def _opened(secret: Tree) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def _value(variable: Tree, pod: Tree) -> str:
    """Of an environment variable: as it stands, or by the downward API one of the pod's labels."""
    if "value" in variable:
        return str(variable["value"])
    path = variable["valueFrom"]["fieldRef"]["fieldPath"]
    label = path.removeprefix("metadata.labels['").removesuffix("']")
    return str(pod["metadata"]["labels"][label])


def _placed(text: str, places: dict[str, str]) -> str:
    for path, place in places.items():
        text = text.replace(path, place)
    return text
