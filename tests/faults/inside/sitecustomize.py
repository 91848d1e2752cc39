"""What a fault does inside the processes of a run: Python loads this where PYTHONPATH leads here.

``ATOLL_FAULT`` holds points, see ``points.py``, each to be met once the one before was: the process
that first comes to it for the n-th time from then on is struck, or strikes another.
``ATOLL_FAULT_PROXY`` is where agents call instead of their orchestrator.
"""

import contextlib
import ctypes
import functools
import importlib.abc
import importlib.util
import itertools
import json
import os
import resource
import signal
import sys
import time
import types
from pathlib import Path


def role():
    """Which process of a run this is."""
    for word in ("orchestrator", "agent"):
        if word in sys.orig_argv:
            return word
    return "trainer" if "--work-dir" in sys.orig_argv else "command"


class OnImport(importlib.abc.MetaPathFinder):
    """Changes a module as soon as it is there."""

    def __init__(self, name, change):
        self.name, self.change = name, change

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            self.change(module)

        spec.loader.exec_module = exec_module
        return spec


def wrap(place, made_around):
    """Exchange the function at ``module:name`` for what is made around it."""
    module_name, _, function = place.partition(":")

    def change(module):
        *owners, name = function.split(".")
        owner = functools.reduce(getattr, owners, module)
        setattr(owner, name, made_around(getattr(owner, name)))

    if module_name in sys.modules:
        change(sys.modules[module_name])
    else:
        sys.meta_path.insert(0, OnImport(module_name, change))


class Point(types.SimpleNamespace):
    """See ``points.py``."""

    def around(self, whole):
        def reached(*args, **named):
            if not self.is_met(args):
                return whole(*args, **named)
            if self.when == "before":
                self.strike(args)
            if self.when == "halfway":
                self.write_half(*args)
            answer = whole(*args, **named)
            if self.when == "after":
                self.strike(args)
            return answer

        return reached

    def is_met(self, args):
        if self.about not in repr(args) or not Path(self.after).exists():
            return False
        if not is_alive(self.pid(args)):  # struck at the point before, and not replaced yet
            return False
        return next(self.count) == self.nth and self.is_first()

    def is_first(self):
        """Strikes once: whoever comes after the one that was struck is left alone."""
        try:
            Path(self.marker).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def write_half(self, source, target):
        """Of the file that is just copied; nobody is left to write the other half."""
        data = Path(source).read_bytes()
        Path(target).write_bytes(data[: len(data) // 2])
        self.strike(())
        while True:
            time.sleep(1)

    def strike(self, args):
        match self.blow:
            case "SIGKILL":
                pid = self.pid(args)
                os.kill(pid, signal.SIGKILL)
                while is_alive(pid):
                    time.sleep(0.01)
            case "SIGSEGV":
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                ctypes.string_at(0)  # what is there may not be read
            case "hold the GIL":
                ctypes.PyDLL(None).sleep(3600)  # a call of C that never lets go of it

    def pid(self, args):
        match self.victim, self.process:
            case "", _:
                return os.getpid()
            case "agent", "trainer":
                return os.getppid()
            case "agent", "orchestrator":  # the one whose request is being answered
                request = args[1]
                island = request.lease.island if hasattr(request, "lease") else request.island
                record = Path(self.state, "islands", island, "node.json")
            case "orchestrator", _:
                record = Path(self.state, "orchestrator.json")
        return json.loads(record.read_text())["process"]["pid"]


def is_alive(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def call_at(proxy):
    """Agents call there, wherever they are told that their orchestrator is."""
    wrap(
        "atoll.control:ControlClient._connect",
        lambda connect: lambda client, address: connect(client, proxy),
    )


if "ATOLL_FAULT" in os.environ:
    for armed in json.loads(os.environ["ATOLL_FAULT"]):
        point = Point(**armed, count=itertools.count(1))
        if point.process == role():
            wrap(point.place, point.around)
if "ATOLL_FAULT_PROXY" in os.environ and role() == "agent":
    call_at(os.environ["ATOLL_FAULT_PROXY"])
