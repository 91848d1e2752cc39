import pytest

from evaluation import table


def test_table_marks_the_best_painted_row_of_each_column(row):
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


def test_table_holds_rows_within_the_spread_of_the_best_for_as_good(row):
    best, near, far = row("a", 1.0, 1.0), row("b", 2.0, 1.0), row("c", 9.0, 1.0)
    best["scores"] |= {"kid": -0.0003, "kid_std": 0.0008}
    near["scores"] |= {"kid": 0.0004, "kid_std": 0.0001}
    kid = [line["cells"][1] for line in table.table([best, near, far], "a")]
    assert [cell["text"] for cell in kid] == ["-0.30 ± 0.80", "0.40 ± 0.10", "9.00 ± 0.00"]
    assert [cell["best"] for cell in kid] == [True, True, False]


def test_table_marks_the_chosen_strategy(row):
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
