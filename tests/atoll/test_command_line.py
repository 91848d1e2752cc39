"""The command itself, as a process."""

import json
import os
import resource
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from atoll.__main__ import COMMANDS, main
from atoll.errors import BadInput
from atoll.init import init


def atoll(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atoll", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=60,
    )


def printed(code: str) -> str:
    """What a process of its own prints, with nothing imported before."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys\nfrom atoll.__main__ import main\n"
        "try:\n main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'grpc', 'sqlalchemy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    told = printed(code)
    assert all(f" {name} " in told for name in COMMANDS)


def test_agent_imports_nothing_that_only_other_commands_need() -> None:
    code = (
        "import sys\nfrom atoll.__main__ import main\n"
        "try:\n main(['agent'])\nexcept SystemExit as refused: assert refused.code == 2\n"
        "assert 'cluster.agent' in sys.modules\n"
        "heavy = {'sqlalchemy', 'prometheus_client', 'cryptography', 'fsspec', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    printed(code)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"atoll {name}" in capsys.readouterr().out


def test_unknown_command_is_refused() -> None:
    done = atoll("swim")
    assert done.returncode == 2
    assert "No such command 'swim'" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_configuration_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = atoll("run", "--set", "training.stps=3", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "atoll: --set: training.stps is not a known key; did you mean training.steps?\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_interrupted_stage_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.new("L", (8, 8)).save(images / "one.png")
    os.mkfifo(images / "one.txt")  # its caption: reading it waits for ever
    settings = ("--set", "data.source=folder", "--set", f"data.path={images}")
    # Whoever starts the tests in the background has them ignore interrupts.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    with (
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{heeding}from atoll.__main__ import main; main()",
                "partition",
                *settings,
            ],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        ) as child,
        (images / "one.txt").open("wb"),  # waits until somebody reads
    ):
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert told == (
        "atoll: interrupted; what was finished is kept, and the same command goes on from there\n"
    )


def test_init_writes_a_file_once(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    assert atoll("init", str(file), "--set", "run.seed=7").returncode == 0
    assert tomllib.loads(file.read_text())["run"]["seed"] == 7
    again = atoll("init", str(file))
    assert again.returncode == 2
    assert "--force" in again.stderr


def test_init_on_a_full_disk_keeps_the_file_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("# mine\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # bytes a file may grow to
    try:
        with pytest.raises(BadInput, match=r"run\.toml cannot be written: File too large"):
            init(file, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text() == "# mine\n"
    assert list(tmp_path.iterdir()) == [file]


def test_doctor_reports_as_json(tmp_path: Path) -> None:
    keys = ("--set=data.source=folder", f"--set=data.path={tmp_path / 'none'}")
    done = atoll("doctor", "--json", *keys, cwd=tmp_path)
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["torch"]["verdict"] == "ok"
    assert findings["data.path"]["verdict"] == "missing"
    assert done.returncode == 1


def test_completion_knows_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "atoll"],
        env={"_ATOLL_COMPLETE": "complete_bash", "COMP_WORDS": "atoll pa", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "partition" in done.stdout
