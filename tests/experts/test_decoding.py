import gc
from pathlib import Path

import numpy as np
import pytest
import torch

from experts import decoding
from experts.decoding import LatentDecoder
from partition.autoencoder import Autoencoder
from tests.autoencoders import write_vae

CPU = torch.device("cpu")


@pytest.mark.parametrize("keeps", [True, False])
def test_autoencoder_stays_after_a_grid_only_where_it_is_kept(tmp_path, keeps):
    folder = Path(write_vae(tmp_path / "vae"))
    decode = LatentDecoder(f"{tmp_path}", lambda: folder, 2.0, 0.5, CPU, keeps)
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = Autoencoder(folder, CPU).decode(x / 2 + 0.5)
    for _ in range(2):
        assert np.array_equal(decode(x), expected)
        gc.collect()
        assert ((decode.model, CPU) in decoding._shared) == keeps
