from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe.data import CaffeRNG


def test_words_are_those_the_c_plus_plus_standard_names() -> None:
    # [rand.predef]: the 10000th word of a default-constructed std::mt19937 (seed 5489).
    rng = CaffeRNG(5489)
    assert rng.word() == 3499211612
    rng.words(9998)
    assert rng.word() == 4123659995


def test_rand_is_a_word_modulo_n() -> None:
    words = CaffeRNG(7).words(50)
    rng = CaffeRNG(7)
    assert [rng.rand(n) for n in range(1, 51)] == [word % n for word, n in zip(words, range(1, 51), strict=True)]


def test_no_words() -> None:
    assert CaffeRNG(1).words(0) == []


# Computed with boost 1.74: boost::mt19937 and boost::uniform_int<std::ptrdiff_t> in Caffe's shuffle.
@pytest.mark.parametrize(
    ("seed", "expected", "next_word"),
    [
        (0, [0, 1], 2546248239),
        (0, [0, 1, 3, 4, 2], 2588848963),
        (1, [1, 6, 0, 4, 3, 5, 2], 1298508491),
        (1701, [4, 2, 1, 5, 6, 3, 0], 2064242003),
        (4294967295, [5, 1, 3, 2, 4, 6, 0], 3350089942),
    ],
)
def test_shuffle_is_boosts(seed: int, expected: list[int], next_word: int) -> None:
    rng = CaffeRNG(seed)
    values = np.arange(len(expected))
    rng.shuffle(values)
    assert values.tolist() == expected
    assert rng.word() == next_word


def test_shuffle_of_a_thousand_is_boosts() -> None:
    rng = CaffeRNG(1701)
    values = np.arange(1000)
    rng.shuffle(values)
    assert values[:7].tolist() == [360, 347, 635, 201, 688, 311, 1]
    digest = 0
    for value in values.tolist():
        digest = (digest * 31 + value) % 2**64
    assert digest == 7488654822767953080
    assert rng.word() == 1225810686


def test_uniform_int_reaches_both_ends() -> None:
    rng = CaffeRNG(3)
    drawn = [rng.uniform_int(2) for _ in range(300)]
    assert set(drawn) == {0, 1, 2}
    before = rng.state_dict()["pos"]
    assert rng.uniform_int(0) == 0
    assert rng.state_dict()["pos"] == before


@pytest.mark.parametrize(
    ("high", "words", "expected"),
    [
        # Buckets of 2^31 words: where they fit exactly, boost makes them one larger than (2^32 - 1) / 2 rounded down.
        (1, [2**31 - 1], 0),
        (1, [2**31], 1),
        (1, [2**32 - 1], 1),
        # Three buckets of 1431655765 leave one word over, and another one is drawn for it.
        (2, [1431655764], 0),
        (2, [1431655765], 1),
        (2, [2**32 - 2], 2),
        (2, [2**32 - 1, 7], 0),
    ],
)
def test_uniform_int_at_the_ends_of_its_buckets(
    high: int, words: list[int], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(words)
    monkeypatch.setattr(CaffeRNG, "word", lambda self: next(drawn))
    assert CaffeRNG(1).uniform_int(high) == expected
    assert list(drawn) == []


def test_state_goes_round() -> None:
    rng = CaffeRNG(11)
    rng.words(1000)
    state = rng.state_dict()
    ahead = rng.words(700)
    other = CaffeRNG(12)
    other.load_state_dict(state)
    assert other.words(700) == ahead


@pytest.mark.parametrize("state", [{"key": [1, 2], "pos": 0}, {"key": [0] * 624, "pos": 625}])
def test_a_wrong_state_is_refused(state: dict) -> None:
    with pytest.raises(ValueError, match="624 words"):
        CaffeRNG(1).load_state_dict(state)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed must be from 0"):
        CaffeRNG(seed)


def test_rand_needs_a_positive_bound() -> None:
    with pytest.raises(ValueError, match="positive bound"):
        CaffeRNG(1).rand(0)


def test_without_a_seed_two_differ() -> None:
    assert CaffeRNG().words(4) != CaffeRNG().words(4)


def test_bernoulli_takes_a_word_each() -> None:
    # 3499211612, 581869302, 3890346734, 3586334585 of 2**32 - 1: 0.81, 0.14, 0.91 and 0.84.
    rng = CaffeRNG(5489)
    assert rng.bernoulli(4, 0.825).tolist() == [True, True, False, False]
    assert rng.bernoulli(0, 0.5).tolist() == []
    assert rng.word() == CaffeRNG(5489).words(5)[4]
    assert rng.bernoulli(1000, 1).all()
    assert not rng.bernoulli(1000, 0).any()


def test_bernoulli_rounds_a_word_to_float() -> None:
    # The first word, 3499211612, becomes 13668795 * 2^8 as a float, which is less.
    p = 13668795 / 2**24
    assert CaffeRNG(5489).bernoulli(1, p).tolist() == [True]
    assert CaffeRNG(5489).bernoulli(1, p - 2**-24).tolist() == [False]


@pytest.mark.parametrize("p", [0.5, 0.1, 0.825, 1 / 3, 1e-9, 1 - 1e-7])
def test_bernoulli_compares_floats(p: float) -> None:
    count = 70000
    words = np.array(CaffeRNG(3).words(count), np.float32)
    rng = CaffeRNG(3)
    np.testing.assert_array_equal(rng.bernoulli(count, p), words <= np.float32(p) * np.float32(2**32 - 1))
    assert rng.word() == CaffeRNG(3).words(count + 1)[-1]


@pytest.mark.parametrize("before", [0, 1, 600, 623, 624, 625])
@pytest.mark.parametrize("count", [1, 23, 24, 25, 624, 1249])
def test_bernoulli_from_anywhere_and_the_words_behind(before: int, count: int) -> None:
    words = CaffeRNG(9).words(before + count + 3)
    rng = CaffeRNG(9)
    rng.words(before)
    drawn = rng.bernoulli(count, 0.5)
    assert drawn.dtype == bool
    assert drawn.tolist() == [word < 2**31 for word in words[before : before + count]]
    assert rng.words(3) == words[-3:]
