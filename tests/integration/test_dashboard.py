"""The dashboard of a real run in a real browser."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)  # the first time a browser may have to be installed


@pytest.fixture(scope="session")
def browser() -> str:
    found = subprocess.run(["scripts/browser"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return found.stdout.strip()


@pytest.fixture
def dom(browser, tmp_path: Path):
    """What a page looks like to a person after some seconds, as HTML."""

    def dump(url: str) -> str:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        flags += ["--disable-background-networking", "--virtual-time-budget=5000"]
        command = [browser, *flags, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", url]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    return dump


def test_dashboard_shows_jobs_timeline_losses_and_events(run, until, dom):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        web = f"127.0.0.1:{free.getsockname()[1]}"
    run.steps, run.options = 4000, "--step-s 0.02 --every 10"
    run.overrides = [f"orchestrator.web={web}"]
    run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    run.trainer_of("expert-0").kill()
    until(lambda: any(event.kind == "attempt-failed" for event in run.events()))
    until(lambda: run.committed("expert-0") >= 60)
    page = dom(f"http://{web}/")
    assert f'<h1 id="run">{run.uri}</h1>' in page
    assert "0 of 2 jobs done, 2 islands at work" in page
    rows = re.search(r'<tbody id="jobs">(.*?)</tbody>', page, re.DOTALL)
    assert rows
    assert [rows[1].count(f"<td>expert-{index}</td>") for index in (0, 1)] == [1, 1]
    assert page.count('class="span"') >= 3  # two jobs, one of them twice
    assert page.count('class="mark"') == 1
    assert page.count('class="loss"') == 2
    assert "killed by signal 9 (SIGKILL)" in page
    assert re.search(r'<li class="bad"><time>[^<]+</time><b>attempt-failed</b>', page)
