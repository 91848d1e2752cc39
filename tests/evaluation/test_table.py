import pytest

from evaluation import table


def row(name, frechet, gflops=None):
    scores = {
        "num_samples": 100,
        "frechet": frechet,
        "kid": frechet / 1000,
        "kid_std": 0.0,
        "precision": 0.9,
        "recall": 0.8,
        "density": 1.0,
        "coverage": 0.7,
    }
    cost = gflops and {
        "gflops_per_image": gflops,
        "experts_per_step": 1.0,
        "usage": [1.0],
        "seconds": 1.0,
    }
    return {"name": name, "scores": scores, "cost": cost}


def test_table_marks_the_best_painted_row_of_each_column():
    rows = [row("real", 1.0), row("monolith", 9.0, 0.5), row("top-1", 7.0, 0.7)]
    marked = {
        line["label"]: [cell["best"] for cell in line["cells"]]
        for line in table.table(rows, "top-1")
    }
    frechet, gflops = 0, 6
    assert marked["top-1"][frechet]
    assert not marked["monolith"][frechet]
    assert marked["monolith"][gflops]
    assert not any(marked["real images, half and half"])
    assert marked["monolith"][2] == marked["top-1"][2] is True  # equally precise


def test_table_marks_the_chosen_strategy():
    kinds = [
        line["kind"] for line in table.table([row("real", 1.0), row("top-1", 2.0, 1.0)], "top-1")
    ]
    assert kinds == ["reference", "chosen"]


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.7, "0.700"), (1.469, "1.47"), (290.4, "290"), (1318.2, "1,318"), (-0.0012, "-0.00120")],
)
def test_significant_writes_three_digits(value, written):
    assert table.significant(value) == written
