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


def test_facts_and_recipe_state_what_the_row_was_painted_with(row):
    partition = Partition("p", 1797, (8, 8, 1), (), False, None, "", "", ())
    chosen = row("top-1", 7.0, 0.5)
    assert dict(page.facts(partition, chosen))["training steps"] == "1,200"
    assert page.recipe(chosen["recipe"], partition) == [
        ("seed", "3"),
        ("solver", "heun, 7 steps"),
        ("guidance", "1.5"),
        ("gate", "learned"),
        ("painted images a row", "1,000"),
        ("real images", "1,797"),
        ("weights", "averaged, decay 0.9; the router’s 0.5"),
        ("extractor", "classifier e"),
        ("reference", "r"),
        ("partition", "p"),
    ]


@pytest.mark.parametrize(("restarts", "expected"), [(0, "No job was"), (1, "once"), (3, "3 times")])
def test_loss_words_count_the_restarts(restarts, expected):
    assert expected in page.loss_words(restarts)


def test_lead_counts_what_the_router_costs_on_top(row):
    partition = Partition("", 100, (8, 8, 1), (), False, None, "", "", ())
    training = [
        {"part": "monolith", "relative": 1.0},
        {"part": "experts", "relative": 1.0},
        {"part": "router", "relative": 0.35},
    ]
    words = page.lead("digits", partition, [row("top-1", 7.0, 0.5)], training)
    assert "top-1 comes closest" in words
    assert words.endswith("100% of the monolith’s FLOPs, and the router 35% more.")
