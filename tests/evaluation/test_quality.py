"""The summary that ``benchmarks/quality.py`` makes of several runs."""

import runpy
from pathlib import Path

import pytest


@pytest.fixture
def summary():
    benchmark = Path(__file__).parents[2] / "benchmarks" / "quality.py"
    return runpy.run_path(str(benchmark))["summary"]


def test_summary_holds_every_row_against_the_monolith_of_its_own_run(summary, row):
    runs = [
        {"rows": [row("monolith", 8.0, 0.5), row("top-1", 4.0, 0.75)]},
        {"rows": [row("monolith", 4.0, 0.5), row("top-1", 6.0, 0.75)]},
    ]
    found = summary(runs)
    assert found["monolith"]["to_monolith"] == {"mean": 1.0, "std": 0.0}
    assert found["top-1"]["to_monolith"] == {"mean": 1.0, "std": 0.707}
    assert found["top-1"]["frechet"] == {"mean": 5.0, "std": 1.414}
    assert found["top-1"]["gflops_per_image"] == 0.75


def test_summary_of_runs_without_a_monolith_leaves_the_comparison_out(summary, row):
    found = summary([{"rows": [row("real", 1.0), row("top-1", 4.0, 0.75)]}])
    assert found["top-1"]["to_monolith"] is None
    assert found["real"]["gflops_per_image"] is None
