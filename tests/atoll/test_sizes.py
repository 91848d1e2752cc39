import pytest
import torch

from atoll.config_file import read_config
from atoll.errors import ConfigError
from atoll.expert_section import ExpertSection
from atoll.sizes import PRESETS, Sizes
from experts.condition import Conditioning
from experts.dit import DiT


def num_weights(preset):
    sizes = PRESETS[preset]
    with torch.device("meta"):
        network = DiT(sizes, Conditioning("class", 1000), (4, 32, 32))
    published_outputs = 8  # DiT predicts noise and sigma; we have half of that layer
    extra = (published_outputs - 4) * sizes.patch**2 * (sizes.width + 1)
    return sum(value.numel() for value in network.parameters()) + extra


def test_dit_xl_2_has_as_many_weights_as_published():
    fixed_positions = 16 * 16 * 1152  # the paper's code counts them
    assert num_weights("DiT-XL/2") + fixed_positions == 675_129_632


@pytest.mark.parametrize(
    ("preset", "millions"), [("DiT-S/2", 33), ("DiT-B/2", 130), ("DiT-L/2", 458)]
)
def test_named_sizes_have_as_many_weights_as_published(preset, millions):
    assert round(num_weights(preset) / 1e6) == millions


def test_sizes_of_a_preset_are_its_own():
    assert ExpertSection(preset="DiT-B/4").sizes == Sizes(768, 12, 12, 4)


def test_sizes_of_a_section_without_preset_are_the_sections():
    assert ExpertSection(width=32, depth=2, heads=4, patch=1).sizes == Sizes(32, 2, 4, 1)


def test_preset_in_other_letters_is_refused_with_the_right_ones():
    with pytest.raises(ConfigError, match=r'"dit-xl/2" is not known; did you mean DiT-XL/2\?'):
        read_config(None, ["expert.preset=dit-xl/2"])


def test_sizes_of_an_unknown_preset_lists_those_there_are():
    with pytest.raises(ConfigError, match=r'"DiT-H/2" is not known; there are DiT-S/2, .*DiT-XL/8'):
        read_config(None, ["expert.preset=DiT-H/2"])
