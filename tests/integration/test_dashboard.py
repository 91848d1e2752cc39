"""The dashboard of a real run in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chromium import Chromium, find_browser
from tests.ports import free_address

pytestmark = pytest.mark.timeout(300)  # the first time a browser may have to be installed


@pytest.fixture
def browser(tmp_path: Path):
    chromium = Chromium(find_browser(), tmp_path / "browser")
    yield chromium
    chromium.close()


def test_dashboard_shows_jobs_costs_recoveries_losses_checkpoints_and_events(run, until, browser):
    web = free_address()
    run.steps, run.options = 4000, "--step-s 0.02 --every 10"
    run.overrides = [f"orchestrator.web={web}", "island.price_per_hour=3600", "island.restarts=0"]
    run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    run.trainer_of("expert-0").kill()
    until(lambda: any(event.kind == "attempt-failed" for event in run.events()))
    until(lambda: run.committed("expert-0") >= 60)
    browser.open(f"http://{web}/")
    whole = "document.documentElement.outerHTML"
    page = browser.until(f"document.querySelector('#events li') && {whole}")  # which come last
    assert not browser.problems
    assert f'<h1 id="run">{run.uri}</h1>' in page
    assert "0 of 2 jobs done, 2 islands at work" in page
    assert '<dd id="recoveries">1</dd>' in page
    assert float(inside(page, "cost")) > 1
    jobs, safe = inside(page, "jobs"), inside(page, "checkpoints")
    for index in (0, 1):
        assert jobs.count(f"expert-{index}</th>") == safe.count(f"expert-{index}</th>") == 1
        assert f'aria-label="steps of expert-{index}"' in jobs
    assert re.search(r"<li>step \d+0, epoch 2, \d\d:\d\d:\d\d</li>", safe)
    timeline = inside(page, "timeline")
    assert timeline.count('class="span"') >= 3  # two jobs, one of them twice
    assert timeline.count('class="mark"') == timeline.count('class="recovery"') == 1
    assert "1 failures or losses, 1 recoveries" in page
    assert page.count('class="loss"') == 2
    assert "killed by signal 9 (SIGKILL)" in timeline
    events = inside(page, "events")
    assert re.search(r'<li class="bad"><time>[^<]+</time><b>attempt-failed</b>', events)
    assert re.search(r'<li class="mended"><time>[^<]+</time><b>lease-granted</b>', events)


def inside(page: str, name: str) -> str:
    """What an element holds, by its id."""
    found = re.search(rf'<(\w+) [^>]*id="{name}"[^>]*>(.*?)</\1>', page, re.DOTALL)
    assert found
    return found[2]
