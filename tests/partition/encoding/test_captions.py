import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import partition.stage
from atoll.blobs import open_store
from atoll.config import Config
from atoll.encoded import refuse_unasked, refuse_unencoded
from atoll.errors import BadInput, StageMissing
from atoll.node_cache import NodeCache
from partition.encoding.captions import CaptionSeries
from partition.encoding.stage import is_encoded, run_encode
from partition.manifest import Texts
from partition.model_files import find_model
from partition.reader import ShardReader
from partition.stage import find_partition, load_partition, run_partition
from partition.text_model import TextModel
from tests import text_models
from tests.partition.encoding.conftest import quiet

NAMES = ["a red apple", "green pear", "grinning face on the black cat", "dog"]

Make = Callable[..., Any]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return text_models.write_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def partitioned(tmp_path: Path, encoder: str) -> Make:
    """Makes a run with captions; returns its settings and its partition, not encoded yet."""
    data = tmp_path / "data.npz"
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    np.savez(data, images=images, names=np.array(NAMES * 15))

    def make(run: str = "run", **captions: Any) -> Any:
        source = {"source": "npz", "path": str(data), "labels": None, "captions": "names"}
        told = {"encoder": {"transformers": encoder}, "tokens": 5, "workers": 1, "batch_size": 4}
        config = Config.model_validate(
            {
                "run": {"uri": str(tmp_path / run)},
                "data": source,
                "partition": {"num_experts": 2, "num_fine": 6, "samples_per_shard": 10},
                "captions": {**told, **captions},
                "expert": {"width": 16, "depth": 1, "heads": 2, "condition": "text"},
                "evaluation": {"extractor": {"transformers": "none"}},
            }
        )
        return config, run_partition(config, quiet)

    return make


def encode(config: Config, made: Any) -> Texts:
    run_encode(config, made, quiet)
    found = load_partition(open_store(config.run.uri)).texts
    assert found is not None
    return found


@pytest.mark.parametrize("tokens", [0, 5])
def test_captions_are_read_as_the_model_encodes_them(
    partitioned: Make, tmp_path: Path, encoder: str, tokens: int
) -> None:
    config, made = partitioned(tokens=tokens)
    texts = encode(config, made)
    found = find_model(encoder, "captions.encoder", "transformers")
    model = TextModel(found.folder, found.digest, tokens, torch.device("cpu"))
    assert (texts.encoder, texts.dims, texts.tokens) == (model.name, 16, tokens)
    store = open_store(config.run.uri)
    samples = ShardReader(store, load_partition(store), None, NodeCache(tmp_path / "c"), seed=0)
    batch = samples.batch(0, 20)
    assert batch.captions is not None
    assert batch.texts is not None
    assert set(batch.captions) == set(NAMES)
    expected = model.encode(batch.captions)
    np.testing.assert_allclose(batch.texts, expected, rtol=2e-3, atol=1e-3)


def test_captions_longer_than_their_room_are_counted(partitioned: Make) -> None:
    # Begin and end are tokens, too: of five, three words fit.
    assert encode(*partitioned("short")).num_cut == 15
    assert encode(*partitioned("long", tokens=9)).num_cut == 0
    assert encode(*partitioned("whole", tokens=0)).num_cut == 0


def test_encoding_that_was_killed_goes_on_to_the_same_bytes(
    partitioned: Make, killed: Callable[[Callable[[], object]], list[Any]]
) -> None:
    whole = encode(*partitioned("whole"))
    config, made = partitioned("killed")
    done = killed(lambda: encode(config, made))
    assert not is_encoded(config, made)
    assert encode(config, made) == whole
    assert len(done) == sum(map(len, whole.shards))  # none a second time
    assert is_encoded(config, made)


def test_changed_text_model_is_refused_by_key(partitioned: Make, tmp_path: Path) -> None:
    encoder = text_models.write_bert(tmp_path / "bert")
    config, made = partitioned(encoder={"transformers": encoder})
    encode(config, made)
    text_models.write_bert(tmp_path / "bert", seed=1)
    with pytest.raises(BadInput, match=r"this run was made with captions\.encoder = .* run\.uri"):
        encode(config, made)


def test_run_whose_captions_are_not_encoded_names_command_or_key(partitioned: Make) -> None:
    config, made = partitioned()
    store = open_store(config.run.uri)
    with pytest.raises(StageMissing, match=r"captions\.encoder .* `atoll encode` first"):
        refuse_unencoded(store, config, made.digest, "train")
    encode(config, made)
    refuse_unencoded(store, config, made.digest, "train")
    by_ngrams = config.captions.model_copy(update={"encoder": "ngrams"})
    with pytest.raises(BadInput, match=r"has no captions\.encoder now; set it back"):
        refuse_unencoded(
            store, config.model_copy(update={"captions": by_ngrams}), made.digest, "train"
        )
    with pytest.raises(BadInput, match=r"has no captions\.encoder now; set it back"):
        find_partition(config.model_copy(update={"captions": by_ngrams}))
    by_class = config.expert.model_copy(update={"condition": "class"})
    with pytest.raises(BadInput, match=r'has no expert\.condition = "text" now; set it back'):
        refuse_unasked(store, config.model_copy(update={"expert": by_class}), made.digest)


@pytest.fixture
def read_data(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a partition read of its data, but for the first sample."""
    found: list[str] = []
    monkeypatch.setattr(partition.stage, "Spool", lambda *_: found.append("read") or [])
    return found


@pytest.mark.parametrize(
    ("captions", "words"),
    [
        ({"tokens": 21}, r"captions\.tokens = 21 is more than captions\.encoder = .* takes, 20"),
        ({"encoder": {"transformers": "/no/where"}}, r"captions\.encoder = '/no/where' is no fol"),
    ],
)
def test_text_model_that_cannot_be_used_is_refused_before_the_data_are_read(
    partitioned: Make, read_data: list[str], captions: Any, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        partitioned(**captions)
    assert not read_data


@pytest.fixture
def folder(encoder: str, tmp_path: Path) -> Path:
    return shutil.copytree(encoder, tmp_path / "model")


def lose_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def cut_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1])


def lose_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def name_another_kind(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lose_tokenizer, r"^captions\.encoder names a model in .* without its tokenizer; give"),
        (cut_weights, r"^captions\.encoder = .* a model\.safetensors that is cut off .*; fetch"),
        (lose_a_layer, r"lack encoder\.layer\.1\.output\.dense\.bias\); give captions\.encoder a"),
        (name_another_kind, r"^captions\.encoder = .* is a vit, which encodes no text .*; give"),
    ],
)
def test_text_model_whose_files_are_no_use_is_refused_before_the_data_are_read(
    partitioned: Make,
    read_data: list[str],
    folder: Path,
    broken: Callable[[Path], None],
    words: str,
) -> None:
    broken(folder)
    with pytest.raises(BadInput, match=words):
        partitioned(encoder={"transformers": str(folder)})
    assert not read_data


def test_refusal_of_a_text_model_reads_no_weights(
    partitioned: Make, encoder: str, tmp_path: Path
) -> None:
    config, _ = partitioned()
    series = CaptionSeries.planned(config, open_store(config.run.uri))
    opened = series.open(open_store(config.run.uri), tmp_path, torch.device("meta"))
    assert {each.device.type for each in opened.model._model.parameters()} == {"meta"}
