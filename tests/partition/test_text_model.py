import json
import shutil
from logging.handlers import BufferingHandler

import numpy as np
import pytest
import torch

from atoll.errors import BadInput
from partition.model_files import find_model
from partition.text_model import TextModel, kind_of
from tests import text_models

CPU, META = torch.device("cpu"), torch.device("meta")
CAPTIONS = ["a red apple", "", "grinning face on the black cat", "dog"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    return {
        "clip": text_models.write_clip(base / "clip"),
        "whole": text_models.write_clip(base / "whole", whole=True),
        "projected": text_models.write_clip(base / "projected", projected=True),
        "t5": text_models.write_t5(base / "t5"),
        "bert": text_models.write_bert(base / "bert"),
    }


def opened(folder, tokens, device=CPU):
    found = find_model(str(folder), "captions.encoder", "transformers")
    return TextModel(found.folder, found.digest, tokens, device)


def theirs(kind, folder, caption, **named):
    """What transformers answers for one caption by itself."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**tokenizer(caption, return_tensors="pt", **named))


KINDS = [
    ("clip", "CLIPTextModel"),
    ("whole", "CLIPTextModel"),
    ("projected", "CLIPTextModel"),
    ("t5", "T5EncoderModel"),
    ("bert", "BertModel"),
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_tokens_are_the_last_states_of_transformers_own_and_padding_zeros(folders, name, kind):
    model = opened(folders[name], tokens=10)
    rows = model.encode(CAPTIONS)
    assert rows.shape == (4, 10, 16)
    assert rows.dtype == np.float32
    for row, caption in zip(rows, CAPTIONS, strict=True):
        num = len(caption.split()) + 2 if caption else 0  # with begin and end
        assert not row[num:].any()
        if num:
            expected = theirs(kind, folders[name], caption).last_hidden_state[0].half()
            np.testing.assert_allclose(row[:num], expected.numpy(), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["projected", "t5"])
@pytest.mark.parametrize("device", [CPU, META])
def test_weights_that_are_not_needed_are_passed_over_in_silence(folders, name, device):
    from transformers.utils import logging

    told = BufferingHandler(100)
    logging.add_handler(told)
    logging.set_verbosity_warning()
    opened(folders[name], tokens=0, device=device)
    logging.remove_handler(told)
    assert not told.buffer


def test_one_vector_of_clip_is_what_it_makes_of_the_end(folders):
    rows = opened(folders["clip"], tokens=0).encode(CAPTIONS)
    expected = theirs("CLIPTextModel", folders["clip"], CAPTIONS[2]).pooler_output[0]
    assert rows.shape == (4, 16)
    np.testing.assert_allclose(rows[2], expected.numpy(), rtol=2e-3, atol=1e-3)
    assert not rows[1].any()


@pytest.mark.parametrize(("name", "kind"), KINDS[3:])
def test_one_vector_of_others_is_the_mean_of_a_captions_own_tokens(folders, name, kind):
    rows = opened(folders[name], tokens=0).encode(CAPTIONS)
    expected = theirs(kind, folders[name], CAPTIONS[0]).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(rows[0], expected.numpy(), rtol=2e-3, atol=1e-3)
    assert not rows[1].any()


def test_sentence_model_that_says_so_gives_its_first_token(folders, tmp_path):
    folder = tmp_path / "sentences"
    shutil.copytree(folders["bert"], folder)
    (folder / "1_Pooling").mkdir()
    told = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(told))
    rows = opened(folder, tokens=0).encode(CAPTIONS)
    expected = theirs("BertModel", folder, CAPTIONS[0]).last_hidden_state[0, 0]
    np.testing.assert_allclose(rows[0], expected.numpy(), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["max_tokens", "lasttoken", "Dense"])
def test_sentence_model_that_makes_its_vector_in_another_way_is_refused(folders, tmp_path, kind):
    folder = shutil.copytree(folders["bert"], tmp_path / "sentences")
    (folder / "1_Pooling").mkdir()
    told = {"include_prompt": True, "pooling_mode_mean_tokens": True, f"pooling_mode_{kind}": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(told))
    names = ["Transformer", "Pooling", "Normalize", *(["Dense"] if kind == "Dense" else [])]
    modules = [{"type": f"sentence_transformers.models.{name}"} for name in names]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadInput, match=f"with {kind}, which is not known here; give one whose"):
        opened(folder, 0)
    assert opened(folder, 4).tokens == 4  # its tokens are its own all the same


def test_tokenizer_that_cannot_pad_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["bert"], tmp_path / "unpadded")
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    with pytest.raises(BadInput, match=r"tokenizer has no token to pad with\); give"):
        opened(folder, 4)


def test_vectors_do_not_follow_the_precision_of_the_file(folders, tmp_path):
    import transformers

    folder = shutil.copytree(folders["bert"], tmp_path / "halved")
    half = transformers.BertModel.from_pretrained(folders["bert"]).bfloat16()
    half.save_pretrained(folder)
    rows = opened(folder, 0).encode(CAPTIONS[:1])
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(CAPTIONS[0], return_tensors="pt")
    with torch.inference_mode():
        expected = half.float().eval()(**tokens).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(rows[0], expected.numpy(), rtol=2e-3, atol=1e-3)


def test_caption_is_cut_to_its_room_and_told_so(folders):
    model = opened(folders["clip"], tokens=4)
    rows = model.encode(["a red apple on the cat"])
    expected = theirs(
        "CLIPTextModel", folders["clip"], "a red apple on the cat", truncation=True, max_length=4
    ).last_hidden_state[0]
    np.testing.assert_allclose(rows[0], expected.numpy(), rtol=2e-3, atol=1e-3)
    assert model.is_cut("a red apple")
    assert not model.is_cut("red apple")


def test_name_follows_from_family_and_files(folders, tmp_path):
    first = opened(folders["clip"], 4)
    again = opened(shutil.copytree(folders["clip"], tmp_path / "copy"), 8)
    other = opened(text_models.write_clip(tmp_path / "other", seed=1), 4)
    assert first.name == again.name
    assert first.name.startswith("clip_text_model-")
    assert first.name != other.name


def test_prompts_of_several_threads_are_encoded_as_one_after_the_other(folders):
    from concurrent.futures import ThreadPoolExecutor

    model = opened(folders["bert"], 8)
    asked = [" ".join(text_models.WORDS[: 1 + number % 5]) for number in range(40)]
    expected = [model.encode([each]) for each in asked]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda each: model.encode([each]), asked))
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"model_type": "vit"}, "is a vit, which encodes no text by itself"),
        ({"model_type": "bart"}, "is a bart, which encodes no text by itself"),
        ({"model_type": "fairy"}, "is a fairy, which transformers does not know"),
        ({"_class_name": "AutoencoderKL"}, "is no model of transformers"),
        ([], "is no model of transformers"),
    ],
)
def test_model_of_no_text_is_refused_by_what_it_is(told, words):
    with pytest.raises(
        BadInput, match=f"captions.encoder = 'x' {words}.*give the folder of a CLIP"
    ):
        kind_of(told, "x")


def test_model_with_a_field_of_another_kind_is_refused_by_it():
    with pytest.raises(BadInput, match=r"'x' has a config\.json that describes no model \(.*\)"):
        kind_of({"model_type": "bert", "num_hidden_layers": "three"}, "x")


@pytest.mark.parametrize("told", ["{", "{}", '{"model": {"type": "Odd"}}'])
def test_tokenizer_that_cannot_be_read_is_refused(folders, tmp_path, told):
    folder = shutil.copytree(folders["bert"], tmp_path / "odd")
    (folder / "tokenizer.json").write_text(told)
    with pytest.raises(BadInput, match=r"cannot be loaded \(.*\); give captions\.encoder"):
        opened(folder, 4)


@pytest.mark.parametrize("told", ["{", "7", '[{"name": "0"}]', "[7]"])
def test_sentence_model_whose_parts_cannot_be_read_is_refused(folders, tmp_path, told):
    folder = shutil.copytree(folders["bert"], tmp_path / "odd")
    (folder / "modules.json").write_text(told)
    with pytest.raises(BadInput, match=r"modules\.json or .* cannot be read \(.*\); fetch"):
        opened(folder, 0)


def test_model_without_its_tokenizer_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["bert"], tmp_path / "bare")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(
        BadInput, match=r"captions\.encoder names a model in .*/bare without its tokenizer"
    ):
        opened(folder, 4)


def test_model_that_lacks_weights_is_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders["bert"], tmp_path / "lacking")
    weights = load_file(folder / "model.safetensors")
    gone = weights.pop("encoder.layer.0.output.dense.weight")
    assert gone.numel()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for device in (CPU, META):
        with pytest.raises(
            BadInput, match=r"lack encoder\.layer\.0\.output\.dense\.weight\); give"
        ):
            opened(folder, 4, device)


def test_model_whose_weights_have_other_shapes_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["bert"], tmp_path / "wider")
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, "intermediate_size": 48}))
    for device in (CPU, META):
        with pytest.raises(BadInput, match=r"cannot be loaded \(.*\); give captions\.encoder"):
            opened(folder, 4, device)


@pytest.mark.parametrize("files", ["one", "several"])
def test_model_is_opened_without_its_weights_and_without_accelerate(
    folders, tmp_path, monkeypatch, files
):
    import transformers

    missing = "transformers.integrations.accelerate.is_accelerate_available"
    monkeypatch.setattr(missing, lambda: False)
    whole = transformers.BertForMaskedLM(transformers.AutoConfig.from_pretrained(folders["bert"]))
    copied = shutil.ignore_patterns("*.safetensors")
    folder = shutil.copytree(folders["bert"], tmp_path / "headed", ignore=copied)
    whole.save_pretrained(folder)
    found = [*folders.values(), folder]  # of which the last has names with a prefix
    for number, each in enumerate(found) if files == "several" else ():
        model = transformers.AutoModel.from_pretrained(each)
        found[number] = shutil.copytree(each, tmp_path / str(number), ignore=copied)
        model.save_pretrained(found[number], max_shard_size="5KB")
        assert len(list(found[number].glob("model-*.safetensors"))) > 1
    for each in found:
        here, nowhere = opened(each, 4)._model, opened(each, 4, META)._model
        assert type(here) is type(nowhere)
        shapes = [
            {key: value.shape for key, value in m.state_dict().items()} for m in (here, nowhere)
        ]
        assert shapes[0] == shapes[1]
        assert {value.device for value in nowhere.parameters()} == {META}


def test_model_that_wants_a_library_that_is_missing_says_what_to_install(folders, monkeypatch):
    import transformers

    def wanting(*_args, **_named):
        raise ImportError("T5Tokenizer requires the SentencePiece library.\nCheckout the page")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", wanting)
    words = r"\(T5Tokenizer requires the SentencePiece library\); run `pip install 'atoll\[transf"
    with pytest.raises(BadInput, match=words):
        opened(folders["t5"], 4)
