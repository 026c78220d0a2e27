"""Seeded random projections of gradients (floor 1; D7): the same values on every machine and for every batch size.

A projection sees one module's gradient at a time and adds its share to an (n, d) accumulator; no (d, P) matrix is kept.
All kinds are unbiased: E <R g, R h> = <g, h>.
"""

import hashlib

import numpy as np
import torch

KINDS = ("fold", "countsketch", "rademacher", "gaussian", "none")
DENSE_BLOCK = 4096


def make_projection(kind, dim, seed, sizes):
    """A random projection of gradients to `dim` numbers.

    kind: "fold" (signs, then cyclically shifted chunks of `dim` added; a CountSketch without an index array),
    "countsketch", "rademacher", "gaussian" (dense, for fidelity) or "none" (exact: `dim` is then the sum of the sizes);
    seed: one for all rounds, so that features share a basis; sizes: {module name: number of its parameters}.
    Raises ValueError for an unknown kind, a dim below 1, or no modules.
    """
    if kind not in KINDS:
        raise ValueError(f"projection kind must be one of {list(KINDS)}, got {kind!r}")
    if dim < 1 or not sizes:
        raise ValueError(f"a projection needs dim >= 1 and at least one module, got dim {dim} and {len(sizes)} modules")
    return {"fold": Fold, "countsketch": CountSketch, "none": Identity}.get(kind, Dense)(kind, dim, seed, sizes)


def _generator(seed, *names):
    """numpy's Philox keyed by the SHA-256 of seed and names: specified bit for bit, unlike torch's generators."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


class Projection:
    """`add(out, name, gradient)`: out (n, dim) float32 += gradient (n, sizes[name]) projected."""

    def __init__(self, kind, dim, seed, sizes):
        self.kind, self.dim, self.seed, self.sizes = kind, dim, seed, dict(sizes)
        self._drawn = {}

    def _tensors(self, name, like):
        """The module's random tensors on the device of `like`, drawn once."""
        key = (name, like.device)
        if key not in self._drawn:
            self._drawn[key] = tuple(
                torch.from_numpy(a).to(like.device) for a in self._draw(_generator(self.seed, name), self.sizes[name])
            )
        return self._drawn[key]


class Fold(Projection):
    """Signs per parameter; chunks of `dim`, each shifted cyclically by a random offset, added."""

    def _draw(self, rng, size):
        signs = rng.integers(0, 2, size, dtype=np.int8).astype(np.float32) * 2 - 1
        return signs, rng.integers(0, self.dim, -(-size // self.dim))

    def add(self, out, name, gradient):
        signs, offsets = self._tensors(name, gradient)
        signed = gradient * signs
        for chunk, offset in zip(signed.split(self.dim, 1), offsets.tolist(), strict=True):
            room = self.dim - offset
            head, tail = chunk[:, :room], chunk[:, room:]
            out[:, offset : offset + head.shape[1]] += head
            out[:, : tail.shape[1]] += tail


class CountSketch(Projection):
    """A random sign and a random coordinate for each parameter."""

    def _draw(self, rng, size):
        signs = rng.integers(0, 2, size, dtype=np.int8).astype(np.float32) * 2 - 1
        return signs, rng.integers(0, self.dim, size)

    def add(self, out, name, gradient):
        signs, targets = self._tensors(name, gradient)
        out.index_add_(1, targets, gradient * signs)


class Dense(Projection):
    """A dense matrix of +-1/sqrt(dim) or N(0, 1/dim), drawn in blocks of rows, never whole."""

    def add(self, out, name, gradient):
        for start in range(0, self.sizes[name], DENSE_BLOCK):
            part = gradient[:, start : start + DENSE_BLOCK]
            rng = _generator(self.seed, name, start)
            shape = (part.shape[1], self.dim)
            if self.kind == "gaussian":
                block = rng.standard_normal(shape, dtype=np.float32)
            else:
                block = rng.integers(0, 2, shape, dtype=np.int8).astype(np.float32) * 2 - 1
            out += part @ torch.from_numpy(block / np.float32(np.sqrt(self.dim))).to(part.device)


class Identity(Projection):
    """No projection: the exact gradient, module after module."""

    def __init__(self, kind, dim, seed, sizes):
        super().__init__(kind, sum(sizes.values()), seed, sizes)
        starts = np.cumsum([0, *sizes.values()]).tolist()
        self._starts = dict(zip(sizes, starts, strict=False))

    def add(self, out, name, gradient):
        start = self._starts[name]
        out[:, start : start + gradient.shape[1]] += gradient
