import pytest

from evaluation import page
from partition.manifest import Partition


def test_headline_says_who_leads(row):
    ahead, behind, monolith = row("top-1", 7.0, 1.0), row("full", 11.6, 1.0), row("monolith", 9.0)
    rows = [monolith, ahead, behind]
    assert page.headline(rows, ahead, 4) == (
        "The ensemble leads its monolith: Fréchet distance 7.00 against 9.00"
    )
    assert page.headline(rows, behind, 4).startswith("The monolith leads its ensemble")
    alone = page.headline([ahead], ahead, 4)
    assert alone == "4 experts, one ensemble: Fréchet distance 7.00"


def test_headline_of_scores_that_are_written_alike_is_a_tie(row):
    ensemble, monolith = row("top-1", 9.001, 1.0), row("monolith", 9.0)
    assert page.headline([monolith, ensemble], ensemble, 4) == (
        "The ensemble and its monolith are level: Fréchet distance 9.00"
    )


def test_best_strategy_is_never_the_oracle(row):
    rows = [row("oracle", 1.0, 1.0), row("full", 5.0, 4.0), row("real", 0.5)]
    assert page.best_strategy(rows)["name"] == "full"


def test_mean_confidence_of_a_histogram_is_taken_at_the_middles():
    assert page.mean_confidence([[0, 0, 0, 4], [1, 0, 0, 1], [0, 0, 0, 0]]) == [0.875, 0.5, 0.0]


@pytest.mark.parametrize(("restarts", "expected"), [(0, "No job was"), (1, "once"), (3, "3 times")])
def test_loss_words_count_the_restarts(restarts, expected):
    assert expected in page.loss_words(restarts)


def test_lead_counts_what_the_router_costs_on_top(row):
    partition = Partition("", 100, (8, 8, 1), (), False, (), "", "", ())
    training = [
        {"part": "monolith", "relative": 1.0},
        {"part": "experts", "relative": 1.0},
        {"part": "router", "relative": 0.35},
    ]
    words = page.lead("digits", partition, [row("top-1", 7.0, 0.5)], training)
    assert "top-1 comes closest" in words
    assert words.endswith("100% of the monolith’s FLOPs, and the router 35% more.")
