import threading

import pytest
import torch

from evaluation.threads import single_threaded, spread

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_spread_keeps_the_order_and_puts_the_threads_back():
    assert list(spread(lambda n: n * n, range(50), CPU)) == [n * n for n in range(50)]
    assert torch.get_num_threads() == 2


def test_spread_works_side_by_side_with_one_thread_each():
    both = threading.Barrier(2, timeout=30)  # passes only if two items are under way at once

    def work(_):
        both.wait()
        return torch.get_num_threads()

    assert list(spread(work, range(4), CPU)) == [1] * 4


def test_spread_passes_on_what_went_wrong_and_puts_the_threads_back():
    def work(number):
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        list(spread(work, range(3), CPU))
    assert torch.get_num_threads() == 2


def test_single_threaded_tells_how_many_there_were():
    with single_threaded() as before:
        assert (before, torch.get_num_threads()) == (2, 1)
