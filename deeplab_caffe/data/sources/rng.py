"""Caffe's random numbers: words of a Mersenne Twister, used as Caffe uses them.

The words are numpy's, except for long rows of draws (csrc/mersenne). The distributions are own code, because no library
guarantees boost's bits.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import NumpyArrays

_WORD = 2**32


class CaffeRNG:
    """A ``boost::mt19937`` (``std::mt19937`` gives the same words) with Caffe's ways to draw from it.

    Caffe has one for the whole process (``Caffe::set_random_seed`` seeds it), and draws single words from it to seed
    private ones. Here each net has one and passes it to the layers that draw.

    Args:
        seed: from 0 to 2**32 - 1; None: a seed from the operating system, as by Caffe's ``cluster_seedgen``.

    Raises:
        ValueError: the seed is out of range.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is None:
            seed = secrets.randbits(32)
        if not 0 <= seed < _WORD:
            raise ValueError(f"seed must be from 0 to {_WORD - 1}, got {seed}")
        self._bits = np.random.MT19937()
        # RandomState's legacy seeding is Matsumoto and Nishimura's init_genrand, which boost and std use too.
        np.random.RandomState(self._bits).seed(seed)

    def word(self) -> int:
        """Return the next 32-bit word (``caffe_rng_rand``)."""
        return int(self._bits.random_raw())

    def words(self, count: int) -> list[int]:
        """Return the next ``count`` words."""
        return [int(word) for word in self._bits.random_raw(count)] if count else []

    def rand(self, n: int) -> int:
        """Return a number from 0 to ``n - 1``: the next word modulo ``n`` (``DataTransformer::Rand``).

        Raises:
            ValueError: ``n`` is below 1.
        """
        if n < 1:
            raise ValueError(f"rand needs a positive bound, got {n}")
        return self.word() % n

    def uniform_int(self, high: int) -> int:
        """Return a number from 0 to ``high``, inclusive, drawn from equal buckets like ``boost::uniform_int``.

        Args:
            high: from 0 to 2**32 - 2. For 0 no word is drawn.
        """
        if high == 0:
            return 0
        bucket, rest = divmod(_WORD - 1, high + 1)
        bucket += rest == high
        while True:
            value = self.word() // bucket
            if value <= high:
                return value

    def bernoulli(self, count: int, p: float) -> np.ndarray:
        """Draw ``count`` times, True with probability ``p``, a word each: ``boost::bernoulli_distribution<float>``."""
        # The largest word whose float is small enough; words are compared with it and need not be converted to float.
        most = bisect_right(range(_WORD), np.float32(p) * np.float32(_WORD - 1), key=np.float32) - 1
        state, drawn, xp = self.state_dict(), np.empty(count, np.uint8), NumpyArrays()
        position = _C.mersenne_at_most(xp.view(state["key"].view(np.int32)), state["pos"], most, xp.view(drawn))
        self.load_state_dict({"key": state["key"], "pos": position})
        return drawn.view(bool)

    def shuffle(self, values: np.ndarray) -> None:
        """Shuffle in place like Caffe's ``shuffle``: Fisher-Yates from the end (include/caffe/util/rng.hpp)."""
        for i in range(len(values) - 1, 0, -1):
            j = self.uniform_int(i)
            values[i], values[j] = values[j], values[i]

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state: ``key`` (624 words) and ``pos``."""
        state = self._bits.state["state"]
        return {"key": state["key"].copy(), "pos": int(state["pos"])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`.

        Raises:
            ValueError: it is no state of a Mersenne Twister.
        """
        key = np.array(state["key"], dtype=np.uint32)
        if key.shape != (624,) or not 0 <= int(state["pos"]) <= 624:
            raise ValueError(
                f"an MT19937 state has 624 words and a position up to 624, got {key.shape}, {state['pos']}"
            )
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": int(state["pos"])}}
