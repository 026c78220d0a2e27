"""Named random streams: randomness arrives by name, never from a global seed.

`stream(0, "generate", 3)` is the same sequence on every machine, and independent of `stream(0,
"select", 3)`, so adding a draw to one step never moves another.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Stream:
    """A random stream with the name `path`; every generator made from it starts at the same
    place.
    """

    path: tuple

    def child(self, *names):
        """The stream named `path + names`."""
        return Stream(self.path + names)

    @cached_property
    def _digest(self):
        return hashlib.sha256("/".join(map(str, self.path)).encode()).digest()

    @property
    def seed(self):
        """A non-negative 31-bit integer, for libraries that want a seed."""
        return int.from_bytes(self._digest[:4], "little") >> 1

    def numpy(self):
        """A fresh numpy Generator (Philox, keyed by the SHA-256 of the name: the same on every
        machine).
        """
        return np.random.Generator(
            np.random.Philox(key=int.from_bytes(self._digest[:16], "little"))
        )

    def uniforms(self, items):
        """One uniform number in [0, 1) for each item, (n,) float64, a function of the item itself.

        A permutation of the items permutes the numbers: ties broken by them do not depend on the
        pool's order.
        """
        prefix = self._digest
        digests = (
            hashlib.blake2b(repr(item).encode(), key=prefix, digest_size=8).digest()
            for item in items
        )
        return np.array([int.from_bytes(d, "little") / 2**64 for d in digests], dtype=np.float64)


def stream(seed, *names):
    """The stream called `names` of the experiment seed `seed`."""
    return Stream((int(seed), *names))


def choose(rng, options):
    """One of `options`, uniformly; many times faster than `rng.choice` on short lists."""
    return options[int(rng.integers(len(options)))]


def choose_zipf(rng, options, exponent=1.0):
    """One of `options`, the k-th with a probability in proportion to 1 / k^exponent (Zipf's
    law).
    """
    weights = [1 / rank**exponent for rank in range(1, len(options) + 1)]
    return options[rng.choice(len(options), p=[w / sum(weights) for w in weights])]
