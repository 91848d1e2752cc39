"""Captions encoded by `atoll encode` against a plain loop of transformers over the same model.

Both encode the same captions with a text tower of CLIP ViT-B/32's width (and depth, unless --layers
says otherwise) and random weights, on one thread; ours with several processes if asked for, whose
start counts. The loop keeps nothing and reads its captions from memory; `atoll encode` reads tars,
and writes, hashes and records others. The two take turns, and ratios are medians.

    OMP_NUM_THREADS=1 python benchmarks/encoding_text.py
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from atoll.config import Config
from partition.encoding.stage import run_encode
from partition.stage import run_partition

WORDS = [f"word{number}" for number in range(1000)]
ROOM = 77
SIZES = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--workers", type=int, default=1, help="processes of ours")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(Path(folder), given)))


def measured(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    draw = random.Random(0)  # noqa: S311 - of words
    captions = [" ".join(draw.choices(WORDS, k=draw.randint(4, 24))) for _ in range(given.captions)]
    with contextlib.redirect_stdout(sys.stderr):  # to save it brings DeepSpeed, which says so
        write_model(folder / "clip", given.layers)
    images = np.zeros((len(captions), 8, 8, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(captions)) % 256
    np.savez(folder / "data.npz", images=images, captions=np.array(captions))
    taken: dict[str, list[float]] = {"atoll": [], "longest": [], "max_length": []}
    for number in range(given.rounds):
        config = settings(folder, number, given)
        made = run_partition(config, lambda *_: None)
        taken["atoll"].append(timed(run_encode, config, made, lambda *_: None))
        for padding in ("longest", "max_length"):
            taken[padding].append(timed(loop, folder / "clip", captions, given.batch, padding))
    seconds = {name: statistics.median(each) for name, each in taken.items()}
    return {
        "benchmark": "encoding captions",
        "captions": len(captions),
        "layers": given.layers,
        "workers": given.workers,
        "captions_per_s": round(len(captions) / seconds["atoll"], 1),
        "loop_captions_per_s": round(len(captions) / seconds["longest"], 1),
        "ratio_to_loop": round(ratio(taken, "longest"), 3),
        "ratio_to_loop_that_pads_all_to_77": round(ratio(taken, "max_length"), 3),
    }


def ratio(taken: dict[str, list[float]], other: str) -> float:
    """Of times, the median of rounds."""
    return statistics.median(a / b for a, b in zip(taken["atoll"], taken[other], strict=True))


def timed(function: Any, *arguments: Any) -> float:
    begun = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begun


@torch.inference_mode()
def loop(folder: Path, captions: list[str], batch: int, padding: str) -> None:
    """What a script would do; loading is counted, as it is in ours."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = CLIPTextModel.from_pretrained(folder).eval()
    for start in range(0, len(captions), batch):
        told = tokenizer(
            captions[start : start + batch],
            padding=padding,
            truncation=True,
            max_length=ROOM,
            return_tensors="pt",
        )
        model(input_ids=told["input_ids"], attention_mask=told["attention_mask"])


def settings(folder: Path, number: int, given: argparse.Namespace) -> Config:
    source = {"source": "npz", "path": str(folder / "data.npz"), "labels": None}
    told = {
        "encoder": {"transformers": str(folder / "clip")},
        "tokens": ROOM,
        "workers": given.workers,
    }
    cut = {"num_experts": 1, "num_fine": 4, "pca_dims": 1}
    per_shard = max(1, given.captions // (8 * given.workers if given.workers > 1 else 1))
    return Config.model_validate(
        {
            "run": {"uri": str(folder / f"run-{number}")},
            "data": {**source, "captions": "captions"},
            "partition": {**cut, "samples_per_shard": per_shard},
            "captions": {**told, "batch_size": given.batch},
            "expert": {"condition": "text"},
            "sampling": {"strategy": "full"},
            "evaluation": {"extractor": {"transformers": "none"}, "strategies": ["full"]},
        }
    )


def write_model(folder: Path, layers: int) -> None:
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    vocab = {word: number for number, word in enumerate([*special.values(), *WORDS])}
    words = Tokenizer(models.WordLevel(vocab, special["unk_token"]))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words, model_max_length=ROOM, **special
    ).save_pretrained(folder)
    torch.manual_seed(0)
    told = CLIPTextConfig(
        **SIZES,
        num_hidden_layers=layers,
        vocab_size=len(vocab),
        max_position_embeddings=ROOM,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    CLIPTextModel(told).save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
