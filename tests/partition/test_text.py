import numpy as np
import pytest

from partition.text import HashedNgrams


def test_encoder_gives_unit_rows_and_zeros_for_empty() -> None:
    vectors = HashedNgrams(64).encode(["grinning face", "", "red apple"])
    assert vectors.shape == (3, 64)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1])


def test_encoder_made_anew_gives_the_same() -> None:
    captions = ["grinning face", "grüße 你好"]
    assert np.array_equal(HashedNgrams(32).encode(captions), HashedNgrams(32).encode(captions))


def test_encoder_puts_like_words_near_each_other() -> None:
    cat, cats, train = HashedNgrams(256).encode(["black cat", "black cats", "express train"])
    assert cat @ cats > 0.6
    assert cat @ train < 0.3


def test_encoder_name_tells_its_dims() -> None:
    assert HashedNgrams(32).name != HashedNgrams(64).name


def test_words_of_a_caption_are_vectors_of_their_own_and_what_is_left_is_zeros():
    encoder = HashedNgrams(64, tokens=3)
    rows = encoder.encode(["red apple", "", "one two three four"])
    assert rows.shape == (3, 3, 64)
    assert rows.dtype == np.float32
    assert np.array_equal(rows[0, :2], HashedNgrams(64).encode(["red", "apple"]))
    assert not rows[0, 2].any()
    assert not rows[1].any()
    assert np.array_equal(rows[2], HashedNgrams(64).encode(["one", "two", "three"]))
    assert not encoder.encode(["", " "]).any()
