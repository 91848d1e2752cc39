"""Text models of transformers with their tokenizers, tiny and random, as save_pretrained writes."""

from pathlib import Path
from typing import Any

import torch

WORDS = [
    "a",
    "red",
    "green",
    "apple",
    "pear",
    "black",
    "cat",
    "dog",
    "grinning",
    "face",
    "on",
    "the",
]


def tokenizer(most: int = 77) -> Any:
    """Words and letters; a begin and an end around every caption."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    kept = [*special.values(), *WORDS, *"abcdefghijklmnopqrstuvwxyz"]
    vocab = {word: number for number, word in enumerate(dict.fromkeys(kept))}
    words = Tokenizer(models.WordLevel(vocab, special["unk_token"]))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=most,
        **special,
    )


def _written(model: Any, folder: Path) -> str:
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def write_clip(folder: Path, *, seed: int = 0, whole: bool = False, projected: bool = False) -> str:
    """A CLIP's text tower of 16 features, or with its projection, or all of a CLIP; its folder."""
    from transformers import (
        CLIPConfig,
        CLIPModel,
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
    )

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    text = {**sizes, "num_attention_heads": 2, "vocab_size": 64, "max_position_embeddings": 12}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0, "projection_dim": 8}
    torch.manual_seed(seed)
    if whole:
        vision = {**sizes, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}
        told = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        return _written(CLIPModel(told), folder)
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return _written(kind(CLIPTextConfig(**text)), folder)


def write_t5(folder: Path, *, seed: int = 0) -> str:
    """An encoder and a decoder of 16 features."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(seed)
    told = T5Config(
        vocab_size=64, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=3,
    )  # fmt: skip
    return _written(T5ForConditionalGeneration(told), folder)


def write_bert(folder: Path, *, seed: int = 0) -> str:
    """An encoder of 16 features."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    told = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=20, pad_token_id=0,
    )  # fmt: skip
    return _written(BertModel(told), folder)
