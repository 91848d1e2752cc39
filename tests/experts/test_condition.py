import pytest
import torch

from atoll.errors import BadInput
from experts.condition import Conditioning

CPU = torch.device("cpu")


def test_name_tells_kind_size_and_encoder():
    assert Conditioning("none").name == "none"
    assert Conditioning("class", 10).name == "class:10"
    assert Conditioning("text", 8, "ngrams").name == "text:8:ngrams"


def test_drop_replaces_the_marked_rows_alone():
    dropped = torch.tensor([True, False])
    by_class = Conditioning("class", 3).drop(torch.tensor([1, 2]), dropped)
    by_text = Conditioning("text", 2).drop(torch.ones(2, 2), dropped)
    assert by_class.tolist() == [3, 2]
    assert by_text.tolist() == [[0, 0], [1, 1]]
    assert Conditioning("none").drop(None, dropped) is None


@pytest.mark.parametrize(
    ("conditioning", "cond", "message"),
    [
        (Conditioning("class", 3), None, "takes condition 'class:3' but was given no condition"),
        (Conditioning("none"), torch.tensor([0]), "takes condition 'none' but was given"),
        (Conditioning("class", 3), torch.tensor([0, 4]), "class 4 does not exist"),
        (Conditioning("class", 3), torch.tensor([-1, 0]), "class -1 does not exist"),
        (Conditioning("text", 8), torch.ones(2, 9), r"of 8 numbers, .* shape \(2, 9\)"),
        (Conditioning("text", 8), torch.tensor([1, 2]), r"of 8 numbers, .* shape \(2,\)"),
    ],
)
def test_check_of_another_kind_of_condition_refuses(conditioning, cond, message):
    with pytest.raises(BadInput, match=message):
        conditioning.check(cond)


def test_check_of_the_absent_condition_accepts():
    for conditioning in (Conditioning("class", 3), Conditioning("text", 2), Conditioning("none")):
        conditioning.check(conditioning.null(4, CPU))
