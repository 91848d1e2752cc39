"""The script that makes an island of a bare node, with a wheel that only says how it was called."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "node.sh"
AGENT = """
import json, os, sys
print(json.dumps({"arguments": sys.argv[1:], "prefix": sys.prefix, "umask": os.umask(0)}))
sys.exit(4)
"""
ABOUT = "Metadata-Version: 2.1\nName: atoll\nVersion: 0.1.0\nProvides-Extra: train\n"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "atoll-0.1.0-py3-none-any.whl"
    about = "atoll-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("atoll/__init__.py", "")
        file.writestr("atoll/__main__.py", AGENT)
        file.writestr(f"{about}/METADATA", ABOUT)
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Calls the script as on a node with an empty home, where nobody waits between tries."""
    quick = tmp_path / "quick"
    quick.mkdir()
    (quick / "sleep").symlink_to("/bin/true")
    (tmp_path / "home").mkdir()

    def call(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOME": str(tmp_path / "home"),
            "PATH": f"{quick}:/usr/bin:/bin",
            "PYTHON": sys.executable,
            "PIP_NO_INDEX": "1",
            **more,
        }
        command = ["sh", str(SCRIPT), *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return call


def test_node_installs_the_wheel_once_wholly_and_becomes_its_agent(node, wheel, tmp_path):
    options = ("--orchestrator", "a.example.org:7000", "--island", "far 1")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    asked = ("--wheel", wheel, "--sha256", digest, "--extras", "train", "--", *options)
    first = node(*asked)
    assert first.returncode == 4, first.stderr  # the agent's own
    told = json.loads(first.stdout)
    assert told["arguments"] == ["agent", *options]
    assert Path(told["prefix"]).parent == tmp_path / "home" / ".atoll"
    assert told["umask"] == 0o077
    assert "installing" in first.stderr
    again = node(*asked)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    (Path(told["prefix"]) / ".ready").unlink()  # as if it had been cut short
    assert "installing" in node(*asked).stderr


def test_node_that_cannot_fetch_its_wheel_tells_nobody_the_signature(node, tmp_path):
    ended = node("--wheel", "https://127.0.0.1:1/a.whl?signature=beef", "--", "x")
    assert ended.returncode == 3
    assert "fetching https://127.0.0.1:1/a.whl failed 3 times" in ended.stderr
    log = (tmp_path / "home" / ".atoll" / "bootstrap.log").read_text()
    assert "beef" not in ended.stderr + log


def test_node_that_cannot_install_says_why_after_some_tries(node, tmp_path):
    broken = tmp_path / "atoll-0.1.0-py3-none-any.whl"
    broken.write_text("no wheel")
    ended = node("--wheel", broken, "--", "x")
    assert ended.returncode == 3
    assert "installing Atoll failed 3 times: ERROR" in ended.stderr
    assert "bootstrap.log" in ended.stderr
    log = (tmp_path / "home" / ".atoll" / "bootstrap.log").read_text()
    assert log.count("ERROR") >= 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--wheel is missing"),
        (("--wheel",), "--wheel needs a value"),
        (("--wheel", "/nowhere.whl", "--", "x"), "there is no /nowhere.whl"),
        (("--wheel", "http://example.org/a.whl", "--", "x"), "use https://"),
        (("--island", "a"), "--island is not known; options of the agent come after --"),
        (("--wheel", "WHEEL"), "the agent's options are missing"),
        (("--wheel", "WHEEL", "--sha256", "beef", "--", "x"), "it is another one"),
        (("--wheel", "WHEEL", "--folder", "/proc/x", "--", "x"), "/proc/x cannot be made"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value).replace("/", ""),
)
def test_node_refuses_what_cannot_be_in_one_sentence(node, wheel, words, said):
    ended = node(*(wheel if word == "WHEEL" else word for word in words))
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_node_without_python_says_what_to_install(node, wheel):
    ended = node("--wheel", wheel, "--", "x", PYTHON="/bin/true")
    assert ended.returncode == 3
    assert "3.11" in ended.stderr
    assert not os.path.lexists(wheel.parent / "home" / ".atoll" / "venv")
