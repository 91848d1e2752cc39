import json
import re
from html.parser import HTMLParser

import pytest

from atoll import layout
from atoll.errors import StageMissing
from evaluation.report import write_report

VOID = {"meta", "img", "br", "link", "use", "path", "rect"}


class Page(HTMLParser):
    """What a reader of the page would fetch, see and hear."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.images, self.headings, self.ids = [], [], [], []
        self.scripts, self._inside, self.tables = 0, None, 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.addresses += [found[name] for name in ("src", "href", "xlink:href") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        self.scripts += tag == "script"
        self.tables += tag == "table"
        self._inside = tag
        if tag == "img":
            self.images.append(found)

    def handle_data(self, data):
        if self._inside in {"h1", "h2"} and data.strip():
            self.headings.append(data.strip())
            self._inside = None


@pytest.fixture
def text(run):
    assert write_report(run.config) == layout.REPORT
    return run.store.get_bytes(layout.REPORT).decode()


def test_report_holds_everything_it_shows(text):
    page = Page(text)
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert not page.scripts
    assert not re.search(r"@import|url\((?!#)", text)


def test_report_describes_every_picture(text):
    page = Page(text)
    pictures = 1 + 3 + 4  # montage; experts; chosen strategy, real images, monolith, oracle
    assert len(page.images) == pictures
    assert all(image["alt"] for image in page.images)
    figures = re.findall(r"<svg [^>]*>", text)
    assert len(figures) == 8
    assert all('role="img"' in figure and "aria-label=" in figure for figure in figures)


def test_report_has_every_section_and_no_id_twice(text):
    page = Page(text)
    assert page.headings[1:] == [
        "Images",
        "Comparison",
        "Experts",
        "Router",
        "Training",
        "Recipe",
    ]
    assert re.match("The (ensemble|monolith) (leads|and its monolith are level)", page.headings[0])
    assert len(page.ids) == len(set(page.ids))
    assert page.tables == 4


def test_report_of_names_that_look_like_markup_shows_them(run):
    strange = run.config.model_copy(
        update={"orchestrator": run.config.orchestrator.model_copy(update={"database": "<b>&"})}
    )
    write_report(strange)
    text = run.store.get_bytes(layout.REPORT).decode()
    assert "&lt;b&gt;&amp;" in text
    assert "<b>" not in text


def test_report_written_twice_is_the_same(run, text):
    write_report(run.config)
    assert run.store.get_bytes(layout.REPORT).decode() == text


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        ("sampling", {"steps": 3}),
        ("sampling", {"guidance": 2.0}),
        ("evaluation", {"num_samples": 91}),
        ("evaluation", {"strategies": ("full",)}),
    ],
)
def test_report_of_other_settings_than_were_evaluated_is_refused(run, section, settings):
    (key,) = settings
    words = (
        rf"last evaluated with {section}\.{key}\S* = .*now says .*run `atoll evaluate` with these"
    )
    with pytest.raises(StageMissing, match=words):
        write_report(run.with_(**{section: settings}))


def test_report_states_the_recipe_that_stands_beside_the_row(run, text):
    rows = json.loads(run.store.get_bytes(layout.EVALUATION))["rows"]
    recipe = next(row["recipe"] for row in rows if row["name"] == "top-1")
    stated = dict(re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", text))
    assert stated["seed"] == str(recipe["seed"])
    assert stated["solver"] == f"{recipe['solver']}, {recipe['steps']} steps"
    assert stated["guidance"] == "none"
    assert recipe["guidance"] == 1
    assert stated["gate"] == recipe["gate"] == "learned"
    assert stated["painted images a row"] == str(recipe["num_samples"]) == "90"
    assert stated["weights"] == "averaged, decay 0.5; the router’s 0.99"
    assert stated["extractor"] == f"classifier {recipe['extractor']['digest'][:16]}"
    assert stated["reference"] == recipe["reference"]["digest"][:16]
    assert stated["training steps"] == "12"


def test_report_says_that_the_yardstick_is_the_training_set(text):
    assert "The real images are the ones the networks were trained on" in text


@pytest.mark.parametrize("stage", ["partition", "train", "route", "evaluate"])
def test_report_before_its_stages_says_which_comes_first(run, stage):
    (run.folder / layout.stage_manifest(stage)).unlink()
    with pytest.raises(StageMissing, match=f"; run `atoll {stage}` first$"):
        write_report(run.config)
