"""What people ask for becomes conditions, or a sentence."""

import pytest
import torch

from atoll.errors import BadInput
from experts.condition import Conditioning
from partition.text import HashedNgrams
from router.asking import asked_for

NAMES = ("zero", "one", "two")
CLASSES = Conditioning("class", 3)
ENCODER = HashedNgrams(16)
TEXT = Conditioning("text", 16, ENCODER.name)


def test_classes_by_name_or_number_are_taken_in_turn():
    cond, words = asked_for(CLASSES, NAMES, None, ["two", "0"], 5)

    assert cond.tolist() == [2, 0, 2, 0, 2]
    assert words == ["two", "zero", "two", "zero", "two"]


def test_names_that_are_numbers_are_names_first():
    cond, _ = asked_for(CLASSES, ("2", "1", "0"), None, ["2"], 1)

    assert cond.tolist() == [0]


def test_nothing_asked_of_classes_gives_each_in_turn():
    assert asked_for(CLASSES, NAMES, None, [], 4)[0].tolist() == [0, 1, 2, 0]


def test_prompts_become_their_embeddings():
    cond, words = asked_for(TEXT, (), ENCODER, ["a cat", "a dog"], 3)

    assert words == ["a cat", "a dog", "a cat"]
    assert torch.equal(cond, torch.from_numpy(ENCODER.encode(words)))


def test_prompts_that_stand_twice_are_encoded_alike():
    cond, _ = asked_for(TEXT, (), ENCODER, ["a", "b", "a"], 4)
    assert torch.equal(cond[0], cond[2])
    assert torch.equal(cond[0], cond[3])
    assert not torch.equal(cond[0], cond[1])


def test_nothing_asked_of_text_gives_images_without_a_prompt():
    cond, words = asked_for(TEXT, (), ENCODER, [], 2)

    assert torch.equal(cond, torch.zeros(2, 16))
    assert words == ["", ""]


def test_unconditional_ensemble_takes_nothing():
    assert asked_for(Conditioning("none"), (), None, [], 2) == (None, ["", ""])
    with pytest.raises(BadInput, match="leave out classes and prompts"):
        asked_for(Conditioning("none"), (), None, ["one"], 2)


@pytest.mark.parametrize("text", ["cat", "3", "-1", "", "1" * 5000])
def test_unknown_class_is_refused_with_those_there_are(text):
    with pytest.raises(BadInput, match="there are zero, one, two"):
        asked_for(CLASSES, NAMES, None, [text], 1)


def test_prompt_of_more_words_than_are_heard_is_refused():
    encoder = HashedNgrams(16, tokens=2)
    told = Conditioning("text", 16, encoder.name, 2)
    assert asked_for(told, (), encoder, ["red apple"], 1)[0].shape == (1, 2, 16)
    with pytest.raises(BadInput, match=r"'a red apple' is longer than 2 tokens, .*; shorten it"):
        asked_for(told, (), encoder, ["a red apple"], 1)
