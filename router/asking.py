"""What a person asks for, as conditions and as words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from atoll.errors import BadInput
from experts.condition import Conditioning
from partition.text import TextEncoder

_MOST_SHOWN = 60  # letters of what there is not
_DIGITS = 10  # more of them are no class's number, and Python reads no more than 4,300


def asked_for(
    conditioning: Conditioning,
    class_names: Sequence[str],
    encoder: TextEncoder | None,
    texts: Sequence[str],
    num: int,
) -> tuple[Tensor | None, list[str]]:
    """The conditions of ``num`` images that take what was asked for in turn.

    Args:
        conditioning: of the ensemble.
        class_names: of the data.
        encoder: of prompts, see :mod:`experts.prompting`; None where there are none.
        texts: classes by name or number, or prompts; empty asks for every class in turn, or for
            images without a prompt.
        num: images.

    Returns:
        What the ensemble is told, ``num`` rows, and each row in words.

    Raises:
        BadInput: the ensemble cannot be asked for that, or would not hear all of it; says what
            it can.
    """
    if conditioning.kind == "none":
        if texts:
            raise BadInput(
                "this ensemble is trained without a condition; leave out classes and prompts"
            )
        return None, [""] * num
    if conditioning.kind == "text":
        words = list(itertools.islice(itertools.cycle(texts or ("",)), num))
        each = list(dict.fromkeys(words))  # encoded once, however many images it is for
        assert encoder is not None
        for word in filter(encoder.is_cut, each):
            most = f"{encoder.tokens} tokens" if encoder.tokens else "what its encoder takes"
            raise BadInput(
                f"the prompt {_shown(word)!r} is longer than {most}, so that its end would not be "
                "heard; shorten it"
            )
        encoded = torch.from_numpy(encoder.encode(each))
        return encoded[[each.index(word) for word in words]], words
    numbers = [_class_number(text, class_names) for text in texts] or range(conditioning.size)
    chosen = list(itertools.islice(itertools.cycle(numbers), num))
    return torch.tensor(chosen, dtype=torch.int64), [class_names[number] for number in chosen]


def _class_number(text: str, class_names: Sequence[str]) -> int:
    if text in class_names:
        return class_names.index(text)
    if text.isdecimal() and len(text) < _DIGITS and int(text) < len(class_names):
        return int(text)
    known = ", ".join(class_names[:10]) + (", …" if len(class_names) > 10 else "")
    raise BadInput(f"no class is called {_shown(text)!r}; there are {known}")


def _shown(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
