"""Named random streams: randomness arrives by name, never from a global seed.

`stream(0, "generate", 3)` is the same sequence on every machine, and independent of `stream(0,
"select", 3)`, so adding a draw to one step never moves another.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

Name = str | int
Option = TypeVar("Option")


def _part(name: Name) -> str:
    """A part of a name as text, different for different parts: an int as its digits, text with its
    own "%" and "/" escaped, and its first sign too where it reads as an int.

    Raises TypeError for anything else: a float's or a list's text is no name.
    """
    if isinstance(name, int | np.integer) and not isinstance(name, bool):
        return str(int(name))
    if not isinstance(name, str):
        raise TypeError(f"a stream's name is made of text and whole numbers, got {name!r}")
    escaped = name.replace("%", "%25").replace("/", "%2F")
    return f"%{ord(name[0]):02X}{name[1:]}" if re.fullmatch(r"-?[0-9]+", name) else escaped


@dataclass(frozen=True)
class Stream:
    """A random stream with the name `path`; every generator made from it starts at the same place.

    Different names are different streams: ("a/b",), ("a", "b"), 1 and "1" too.
    """

    path: tuple[Name, ...]

    def child(self, *names: Name) -> "Stream":
        """The stream named `path + names`."""
        return Stream(self.path + names)

    @cached_property
    def _digest(self) -> bytes:
        return hashlib.sha256("/".join(map(_part, self.path)).encode()).digest()

    @property
    def seed(self) -> int:
        """A non-negative 31-bit integer, for libraries that want a seed."""
        return int.from_bytes(self._digest[:4], "little") >> 1

    def numpy(self) -> np.random.Generator:
        """A fresh numpy Generator (Philox, keyed by the SHA-256 of the name: the same on every
        machine).
        """
        return np.random.Generator(
            np.random.Philox(key=int.from_bytes(self._digest[:16], "little"))
        )

    def uniforms(self, items: Iterable[Any]) -> np.ndarray:
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


def stream(seed: int, *names: Name) -> Stream:
    """The stream called `names` of the experiment seed `seed`."""
    return Stream((int(seed), *names))


def choose(rng: np.random.Generator, options: Sequence[Option]) -> Option:
    """One of `options`, uniformly; many times faster than `rng.choice` on short lists."""
    return options[int(rng.integers(len(options)))]


def choose_zipf(
    rng: np.random.Generator, options: Sequence[Option], exponent: float = 1.0
) -> Option:
    """One of `options`, the k-th with a probability in proportion to 1 / k^exponent (Zipf's
    law).
    """
    weights = [1 / rank**exponent for rank in range(1, len(options) + 1)]
    return options[int(rng.choice(len(options), p=[w / sum(weights) for w in weights]))]
