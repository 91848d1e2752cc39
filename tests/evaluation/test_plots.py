import itertools
import re
from xml.etree import ElementTree as ET

import numpy as np

from evaluation import plots
from evaluation.themed import drawing, svg

SVG = "{http://www.w3.org/2000/svg}"


def texts(figure):
    return [element.text for element in ET.fromstring(figure).iter(f"{SVG}text")]  # noqa: S314


def point(step, epoch):
    return {"step": step, "epoch": epoch, "loss": 1 / step}


def test_figure_says_what_it_shows_and_takes_the_pages_colours():
    with drawing() as figure:
        figure.subplots().plot([0, 1], [0, 1], color="#0b7a75")
        text = svg(figure, "some", 'a "line"')
    assert ET.fromstring(text).get("aria-label") == 'a "line"'  # noqa: S314
    assert "var(--accent, #0b7a75)" in text


def test_figures_of_two_names_share_no_id():
    def ids(name):
        text = plots.confusion_matrix(name, "says", np.eye(3))
        return set(re.findall(r'id="([^"]+)"', text))

    assert not ids("one") & ids("other")


def test_figure_drawn_twice_is_the_same():
    first, second = (plots.confusion_matrix("one", "says", np.eye(3)) for _ in range(2))
    assert first == second


def test_loss_curves_ring_every_change_of_epoch():
    steady = [point(s, 1) for s in range(10, 60, 10)]
    taken = [point(s, 1 + (s > 20) + (s > 40)) for s in range(10, 60, 10)]

    def rings(points):
        text = plots.loss_curves("x", "says", {"expert-0": points}, "loss")
        return text.count("var(--signal")

    assert rings(steady) == 0
    assert rings(taken) > 0


def test_confusion_matrix_writes_each_rows_shares():
    found = texts(plots.confusion_matrix("x", "says", [[3, 1], [0, 2]]))
    assert [text for text in found if text.endswith("%")] == ["75%", "25%", "0%", "100%"]


def test_confusion_matrix_of_many_experts_leaves_out_the_figures():
    assert not [t for t in texts(plots.confusion_matrix("x", "says", np.eye(16))) if "%" in t]


def test_quality_against_cost_names_every_row():
    rows = [
        {"name": name, "cost": {"gflops_per_image": x}, "scores": {"frechet": x}}
        for x, name in enumerate(("monolith", "oracle", "top-1"), start=1)
    ]
    assert {"monolith", "oracle", "top-1"} <= set(texts(plots.quality_against_cost("x", "s", rows)))


def test_quality_against_cost_writes_no_name_over_another():
    rows = [
        {"name": name, "cost": {"gflops_per_image": 1.0}, "scores": {"frechet": y}}
        for name, y in (("monolith", 1.0), ("oracle", 0.99), ("top-1", 0.98))
    ]
    text = plots.quality_against_cost("x", "s", rows)
    heights = sorted(
        float(element.get("y"))
        for element in ET.fromstring(text).iter(f"{SVG}text")  # noqa: S314
        if element.text in {"monolith", "oracle", "top-1"}
    )
    assert min(b - a for a, b in itertools.pairwise(heights)) > 8
