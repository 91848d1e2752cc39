from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atoll.__main__ import main
from experts.exchange.exporting import write_ours
from experts.exchange.model import Model
from experts.networks import network_like
from experts.solvers import integrate
from partition.autoencoder import Autoencoder
from partition.pixels import to_uint8
from router.recipe import read_recipe
from router.sampling import noise_of
from tests.autoencoders import write_vae

ABOUT = {
    "sizes": {"width": 16, "depth": 1, "heads": 2, "patch": 4},
    "shape": [1, 8, 8],
    "conditioning": {"kind": "class", "size": 3, "encoder": ""},
    "objective": "velocity",
    "class_names": ["cat", "dog", "owl"],
    "made": {},
}


def written(folder, **others):
    about = {**ABOUT, **others}
    torch.manual_seed(0)
    network = network_like(about)
    write_ours(folder, Model(about, network.state_dict()))
    return network


def ended(*arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


def test_sample_of_an_expert_alone_is_its_own_flow(tmp_path):
    network = written(tmp_path / "expert")
    drawn = ("-o", str(tmp_path / "out"), "--num", "2", "--class", "owl", "--seed", "5")
    assert not ended("sample", "--expert", str(tmp_path / "expert"), *drawn, "-ssampling.steps=3")
    cond = torch.tensor([2, 2])
    with torch.no_grad():
        expected = to_uint8(integrate(network, noise_of((5, 6), (1, 8, 8)), cond, steps=3).numpy())
    for number, image in zip((5, 6), expected, strict=True):
        path = tmp_path / "out" / f"{number:06d}-owl.png"
        assert np.array_equal(np.asarray(Image.open(path)), image[:, :, 0])
        assert read_recipe(path).checkpoints.keys() == {"expert"}


def test_sample_of_an_expert_like_an_image_draws_it_again_and_of_another_refuses(tmp_path, capsys):
    written(tmp_path / "expert")
    flags = ("-o", str(tmp_path / "out"), "--num", "1", "-s", "sampling.steps=2")
    assert not ended("sample", "--expert", str(tmp_path / "expert"), *flags)
    (image,) = tmp_path.glob("out/0*.png")
    again = ("--like", str(image), "-o", str(tmp_path / "again"))
    assert not ended("sample", "--expert", str(tmp_path / "expert"), *again)
    assert (tmp_path / "again" / image.name).read_bytes() == image.read_bytes()
    written(tmp_path / "other", class_names=["a", "b", "c"])
    assert ended("sample", "--expert", str(tmp_path / "other"), *again) == 2
    assert "drawn by other checkpoints" in capsys.readouterr().err


def test_sample_of_an_expert_alone_refuses_a_size(tmp_path, capsys):
    written(tmp_path / "expert")
    assert ended("sample", "--expert", str(tmp_path / "expert"), "--size", "16x8") == 2
    assert "an expert alone draws images of its own size, and --size is 16x8" in (
        capsys.readouterr().err
    )


def test_sample_of_an_expert_that_paints_latents_asks_for_their_autoencoder(tmp_path, capsys):
    written(tmp_path / "expert", shape=[4, 8, 8])
    assert ended("sample", "--expert", str(tmp_path / "expert")) == 2
    assert "paints latents of 4 channels" in capsys.readouterr().err


def test_sample_of_an_imported_expert_decodes_by_the_autoencoder_that_is_named(tmp_path, capsys):
    network = written(tmp_path / "expert", shape=[4, 4, 4])
    vae = write_vae(tmp_path / "vae", blocks=2)
    drawn = ("-o", str(tmp_path / "out"), "-n", "1", "--class", "owl", "-ssampling.steps=3")
    flags = ("sample", "--expert", str(tmp_path / "expert"), *drawn)
    assert not ended(*flags, "--set", f"latents.vae={vae}")
    with torch.no_grad():
        x0 = integrate(network, noise_of((0,), (4, 4, 4)), torch.tensor([2]), steps=3)
    expected = Autoencoder(Path(vae), torch.device("cpu")).decode(x0 / 0.18215)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "000000-owl.png")), expected[0])

    written(tmp_path / "other", shape=[8, 4, 4])
    other = ("sample", "--expert", str(tmp_path / "other"), "--set", f"latents.vae={vae}")
    assert ended(*other) == 2
    assert f"paints latents of 8 channels, and latents.vae = '{vae}'" in capsys.readouterr().err
