import json
from pathlib import Path

import pytest

from atoll.config_file import read_config
from atoll.errors import BadInput
from orchestrator.planning.subject import Data, Subject, subject_of


def planned(vae: str, size: int = 64, *settings: str) -> Subject:
    keys = (f"latents.vae={vae}", f"data.size={size}", "data.source=folder", "data.path=x")
    return subject_of(read_config(None, [*keys, *settings]), Data(samples=10))


def test_networks_of_latents_are_planned_for_their_places(tmp_path: Path) -> None:
    about = {"latent_channels": 16, "block_out_channels": [8, 8, 8]}
    (tmp_path / "config.json").write_text(json.dumps(about))
    subject = planned(str(tmp_path))
    assert subject.expert.num_tokens == (16 // 2) ** 2
    like = subject_of(read_config(None, ["data.source=folder", "data.path=x"]), Data(16, 16))
    assert (subject.expert, subject.router) == (like.expert, like.router)
    assert subject.data_bytes == 10 * 2 * 2 * 16 * 16 * 16  # mean and variance, of 16 bits each
    assert planned(str(tmp_path), 64, "latents.kind=samples").data_bytes == 10 * 2 * 16 * 16 * 16
    assert "latents.vae, whose 16 channels have places of 4 x 4 pixels" in subject.assumed
    with pytest.raises(BadInput, match=r"4 x 4 pixels, which does not divide images of 30x30"):
        planned(str(tmp_path), 30)


def test_autoencoder_that_is_not_here_is_taken_for_a_usual_one() -> None:
    subject = planned("owner/model")
    assert subject.expert.num_tokens == (8 // 2) ** 2
    assert any("is not here: 4 channels" in sentence for sentence in subject.assumed)
