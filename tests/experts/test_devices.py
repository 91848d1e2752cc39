import pytest
import torch

from atoll.errors import BadInput
from atoll.island_section import IslandSection
from experts.devices import device_of


@pytest.fixture
def gpus(monkeypatch):
    """This machine with as many GPUs as are asked for."""

    def set_(num):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: num > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: num)

    return set_


@pytest.mark.parametrize(
    ("asked", "num_gpus", "number", "device"),
    [
        ("auto", 0, 3, "cpu"),
        ("cpu", 2, 3, "cpu"),
        ("auto", 2, 3, "cuda:1"),
        ("cuda", 2, 0, "cuda:0"),
        ("auto", 2, None, "cuda"),
    ],
)
def test_device_is_the_one_asked_for_or_the_best_there_is(gpus, asked, num_gpus, number, device):
    gpus(num_gpus)
    assert device_of(IslandSection(device=asked), number) == torch.device(device)


def test_device_cuda_without_a_gpu_names_the_key(gpus):
    gpus(0)
    with pytest.raises(BadInput, match=r'island\.device = "cuda", but this machine has none'):
        device_of(IslandSection(device="cuda"))
