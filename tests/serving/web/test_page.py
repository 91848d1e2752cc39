"""The page of a real service of a trained run, in a real browser."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pytest

from router.recipe import read_recipe
from serving.keys import Keys, add_key
from serving.remote.replica import Replica
from serving.remote.usage import Usage
from serving.rest.app import make_app
from serving.rest.server import RestServer
from serving.service.order import Order
from tests.chromium import Chromium, find_browser
from tests.fakes import ManualClock
from tests.serving.built import Built, Valve, finished
from tests.serving.conftest import SIDES
from tests.trained_run import copied, with_sizes

pytestmark = pytest.mark.timeout(300)  # the first time a browser may have to be installed


@dataclass(frozen=True)
class Served:
    """One service, its engine's valve, and where it answers: anyone, and those with a key.

    And where it tells of experts elsewhere.
    """

    address: str
    guarded_address: str
    elsewhere_address: str
    key: str
    valve: Valve


def busy() -> Usage:
    """Of three experts: one without a server, one whose server has too little time, one well."""
    clock = ManualClock()
    replica = Replica("a:1", clock, experts={1: "digest", 2: "digest"}, rows_per_s=100.0)
    usage = Usage(3, lambda: [replica], clock)
    clock.sleep(10.0)
    usage.hear((0, 1500, 100))
    return usage


@pytest.fixture(scope="module")
def served(trained_folder, tmp_path_factory):
    run = copied(trained_folder, tmp_path_factory.mktemp("served"))
    built = Built(run, max_queue=8)
    service = built.service
    service.start()
    finished(service.order(Order(strategy="full"), "me"))  # brings both experts into memory
    keys = run.folder / "keys.toml"
    key = add_key(keys, "ann")
    apps = [make_app(service), make_app(service, keys=Keys(keys))]
    apps += [make_app(service, usage=busy())]
    servers = [RestServer(app, "127.0.0.1:0") for app in apps]
    yield Served(*(server.start() for server in servers), key, built.valve)
    for server in servers:
        server.stop(1)
    built.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(find_browser(), tmp_path_factory.mktemp("browser"))
    yield chromium
    chromium.close()


@pytest.fixture
def page(browser, served):
    """The page as it is when it is opened, over an engine that draws."""
    browser.resize(1200, 900)
    browser.open(served.address)
    browser.until("!document.querySelector('#order').hidden")
    yield browser
    served.valve.let(None)
    browser.until("[...document.querySelectorAll('.bar button')].every((each) => each.hidden)")
    assert not browser.problems


@pytest.fixture
def valve(served):
    return served.valve


NEWEST = "document.querySelector('article')"
STANDING = f"{NEWEST}.querySelector('.standing').textContent"
ALT = f"{NEWEST}.querySelector('img').alt"
PIXELS = f"""(async () => {{
  const image = {NEWEST}.querySelector('img');
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext('2d');
  canvas.drawImage(image, 0, 0);
  return [...canvas.getImageData(0, 0, image.naturalWidth, image.naturalHeight).data];
}})()"""


def fill(page, **fields):
    for name, value in fields.items():
        page.run(f"document.querySelector('#order').elements['{name}'].value = {value!r}")


def choose(page, *names):
    page.run(
        "document.querySelectorAll('#classes input')"
        f".forEach(each => {{ each.checked = {list(names)}.includes(each.value) }})"
    )


def generate(page):
    """Press the button, and wait for the new job."""
    before = page.run("document.querySelectorAll('article').length")
    page.run("document.querySelector('#generate').click()")
    page.until(f"document.querySelectorAll('article').length === {before + 1}")


def press(page, words):
    """A button of the newest job."""
    found = f"[...{NEWEST}.querySelectorAll('button')].find(b => b.textContent === '{words}')"
    page.until(f"{found} && !{found}.hidden")
    page.run(f"{found}.click()")


def test_page_tells_of_experts_elsewhere_at_its_foot(browser, served, tmp_path):
    browser.resize(900, 700)
    browser.open(served.elsewhere_address)
    browser.until("!document.querySelector('#experts').hidden")
    summary = "document.querySelector('#experts-summary')"
    assert browser.run(f"{summary}.textContent") == "Experts elsewhere: 1 of 3 cannot be had"
    browser.run(f"{summary}.click()")
    lines = browser.run("[...document.querySelectorAll('#experts li')].map(li => li.textContent)")
    assert lines == [
        "Expert 0: 0 servers, 0.0 rows a second; 1 more would be well",
        "Expert 1: 1 server, 150.0 rows a second, which take 150% of the time of one; "
        "2 more would be well",
        "Expert 2: 1 server, 10.0 rows a second, which take 10% of the time of one",
    ]
    browser.shoot(tmp_path / "elsewhere.png")
    assert not browser.problems


def test_page_of_a_service_with_its_own_experts_tells_of_none_elsewhere(page):
    assert page.run("document.querySelector('#experts').hidden")


def test_page_shows_previews_then_the_image_with_its_experts_and_recipe(page, valve, tmp_path):
    choose(page, "3")
    fill(page, n="1", steps="20", seed="7", strategy="full")
    valve.let(0)
    generate(page)
    assert page.run(STANDING) == "next in the queue"
    valve.let(6)
    page.until(f"{ALT} === '3, seed 7, unfinished, as of step 6'")
    page.until(f"{NEWEST}.querySelector('img').naturalWidth === 8")
    page.until(f"{NEWEST}.querySelectorAll('.strip g').length === 6")
    assert page.run(STANDING) == "drawing"
    valve.let(None)
    page.until(f"{ALT} === '3, seed 7'")
    assert page.run(STANDING).startswith("done in ")
    heights = page.run(
        f"[...{NEWEST}.querySelectorAll('.strip g')].map(g => [...g.querySelectorAll('rect')]"
        ".reduce((sum, rect) => sum + Number(rect.getAttribute('height')), 0))"
    )
    assert len(heights) == 20
    assert heights == pytest.approx([1] * 20, abs=1e-3)
    label = page.run(f"{NEWEST}.querySelector('.strip').getAttribute('aria-label')")
    assert label.startswith("painted in 20 of 20 steps by expert ")
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.run(f"{NEWEST}.querySelector('a').click()")
    page.wait((tmp_path / "atoll-3-7.png").exists, "the image is saved")
    recipe = read_recipe(tmp_path / "atoll-3-7.png")
    assert (recipe.seed, recipe.condition, recipe.steps) == (7, "3", 20)


def test_page_cancels_a_job_that_is_being_drawn(page, valve):
    fill(page, n="1", steps="20")
    valve.let(0)
    generate(page)
    valve.let(6)
    page.until(f"{ALT}.endsWith('unfinished, as of step 6')")
    press(page, "Cancel")
    page.until(f"{STANDING} === 'cancelling'")
    valve.let(None)
    page.until(f"{STANDING} === 'cancelled'")
    assert "unfinished" in page.run(ALT)


def test_page_draws_the_same_image_from_its_recipe_by_keyboard(page):
    choose(page, "5")
    fill(page, n="1", steps="4", solver="heun")
    generate(page)
    page.until(f"{NEWEST}.querySelector('a') !== null")
    first = page.run(PIXELS)
    choose(page, "1", "2")
    fill(page, n="3", steps="9", solver="euler")
    press(page, "Use this recipe again")
    page.press("Enter")  # the button that draws has the focus
    page.until("document.querySelectorAll('article').length === 2")
    page.until(f"{NEWEST}.querySelector('a') !== null")
    assert page.run("document.querySelectorAll('article img').length") == 2
    assert page.run(PIXELS) == first


def test_page_tells_the_place_in_the_queue_and_why_it_is_full(page, valve):
    fill(page, n="5", steps="2")
    valve.let(0)
    generate(page)
    fill(page, n="1", priority="low")  # with the same, some of the five would be due after it
    generate(page)
    page.until(f"{STANDING} === '5 images before yours'")
    fill(page, n="3")
    page.run("document.querySelector('#generate').click()")
    problem = page.until("document.querySelector('#problem').textContent")
    assert problem.startswith("6 images are waiting and serving.max_queue = 8")
    assert re.search(r"Try again in \d+ s\.$", problem)


def test_page_with_more_jobs_than_connections_still_cancels(page, valve):
    fill(page, n="1", steps="2")
    valve.let(0)
    for _ in range(7):
        generate(page)
    press(page, "Cancel")
    page.until(f"{STANDING} === 'cancelling'")
    valve.let(None)
    page.until(f"{STANDING} === 'cancelled'")


def test_page_asks_for_a_key_where_one_is_needed(browser, served):
    browser.open(served.guarded_address)
    problem = browser.until("document.querySelector('#problem').textContent")
    assert problem.startswith("An API key has to be shown")
    browser.until("document.activeElement.id === 'key'")
    browser.call("Input.insertText", text="mistyped ☃")
    browser.press("Enter")
    browser.until("document.querySelector('#problem').textContent.includes('not known')")
    browser.until("document.activeElement.id === 'key'")
    browser.call("Input.insertText", text=served.key)
    browser.press("Enter")
    browser.until("!document.querySelector('#order').hidden")
    assert browser.run("document.querySelector('#key-form').hidden")
    fill(browser, n="1", steps="2")
    generate(browser)
    browser.until(f"{NEWEST}.querySelector('a') !== null")
    assert browser.run("document.querySelector('#problem').textContent") == ""
    assert not browser.problems


@pytest.mark.parametrize(
    ("about", "recipe", "expected"),
    [
        (
            {"condition": "text", "classes": None},
            {"condition": "a red fox", "guidance": 3.5},
            {"prompt": "a red fox", "guidance": 3.5},
        ),
        (
            {"condition": "class", "classes": [f"kind {number}" for number in range(1000)]},
            {"condition": "kind 999", "guidance": 30},
            {"class": ["kind 999"], "guidance": 30},
        ),
        ({"condition": "none", "classes": None}, {"condition": "", "guidance": 1}, {}),
    ],
    ids=["text", "many classes", "none"],
)
def test_form_orders_a_recipe_of_any_kind_of_model(page, about, recipe, expected):
    settings = {"steps": 7, "strategy": "nucleus-0.95", "solver": "midpoint"}
    given = json.dumps({"about": about, "recipe": {**settings, **recipe, "seed": 5}})
    order = page.run(f"""(async () => {{
      const {{ modelServed }} = await import("/api.js"), {{ about, recipe }} = {given};
      const {{ prepare, take, orderOf }} = await import("/form.js");
      const model = {{ ...(await modelServed()).atoll, ...about }};
      const form = document.querySelector("#order");
      prepare(form, model);
      take(form, model, recipe);
      return orderOf(form, model);
    }})()""")
    rest = {"n": 1, "seed": 5, "priority": "normal", "partial_images": 10}
    assert order == {**settings, **expected, **rest}


@pytest.fixture(scope="module")
def address_of_sizes(trained_folder, tmp_path_factory):
    """Of a service of a run whose images are of several sizes."""
    run = with_sizes(copied(trained_folder, tmp_path_factory.mktemp("sizes")), *SIDES)
    built = Built(run)
    built.service.start()
    server = RestServer(make_app(built.service), "127.0.0.1:0")
    yield server.start()
    server.stop(1)
    built.close()


def test_page_draws_images_of_the_size_that_is_chosen_and_again_from_their_recipe(
    browser, address_of_sizes
):
    browser.resize(1200, 900)
    browser.open(address_of_sizes)
    browser.until("!document.querySelector('#order').hidden")
    assert browser.run("document.querySelector('#about').textContent").startswith(
        "2 experts, 8 × 8 pixels or 2 other sizes"
    )
    assert browser.run("[...document.querySelector('#size').options].map(each => each.value)") == [
        "8x8",
        "16x4",
        "4x12",
    ]
    sides = f"(i => [i.naturalWidth, i.naturalHeight])({NEWEST}.querySelector('img'))"
    for size, expected in (("4x12", [4, 12]), ("8x8", [8, 8]), ("16x4", [16, 4])):
        fill(browser, n="1", steps="2", size=size)
        generate(browser)
        assert browser.run(
            f"{NEWEST}.querySelector('.frame').style.aspectRatio"
        ) == "{} / {}".format(*expected)
        browser.until(f"{NEWEST}.querySelector('a') !== null")
        browser.until(f"{NEWEST}.querySelector('img').naturalWidth > 0")
        assert browser.run(sides) == expected
    fill(browser, size="8x8")
    press(browser, "Use this recipe again")
    assert browser.run("document.querySelector('#size').value") == "16x4"
    assert not browser.problems


def test_page_of_a_model_of_one_size_offers_none(page):
    assert page.run("document.querySelector('#size-field').hidden")


def test_page_fits_a_phone(page):
    page.resize(360, 740)
    fill(page, n="2", steps="3")
    generate(page)
    assert page.run(f"{NEWEST}.getBoundingClientRect().top") < 740
    page.until(f"{NEWEST}.querySelectorAll('a').length === 2")
    beyond = page.run(
        "[...document.querySelectorAll('body *')].map(each => [each.getBoundingClientRect().right,"
        "each.outerHTML.slice(0, 80)]).filter(([right]) => right > 360)"
    )
    assert beyond == []
    assert page.run("document.documentElement.scrollWidth") == 360
