"""Seeded random projections of gradients (D7): the same values on every machine and for every batch
size.

A projection sees one module's gradient at a time and adds its share to an (n, d) accumulator; no
(d, P) matrix is kept. All kinds are unbiased: E <R g, R h> = <g, h>.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import torch
from scipy.linalg import hadamard

from activedpo_lib.streams import stream

KINDS = ("fold", "countsketch", "srht", "kronecker", "rademacher", "gaussian", "none")
DENSE_BLOCK = 4096
HADAMARD_BLOCK = 128
Shapes = Mapping[str, tuple[int, int]]  # of each module's weight
Drawn = tuple[np.ndarray, ...]


def make_projection(kind: str, dim: int, seed: int, shapes: Shapes) -> Projection:
    """A random projection of gradients to `dim` numbers.

    kind: "fold" (signs, then cyclically shifted chunks of `dim` added; a CountSketch without an
    index array), "countsketch", "srht" (subsampled randomised Hadamard transform), "kronecker" (a
    small matrix on each side of a module's gradient, as LoGra), "rademacher", "gaussian" (dense,
    for fidelity) or "none" (exact: `dim` is then all parameters); seed: one for all rounds, so that
    features share a basis; shapes: {module name: (rows, columns) of its weight}. Raises ValueError
    for an unknown kind, a dim below 1, or no modules.
    """
    if kind not in KINDS:
        raise ValueError(f"projection kind must be one of {list(KINDS)}, got {kind!r}")
    if dim < 1 or not shapes:
        raise ValueError(
            f"a projection needs dim >= 1 and at least one module, got dim {dim} and {len(shapes)} "
            "modules"
        )
    kinds = {
        "fold": Fold,
        "countsketch": CountSketch,
        "srht": SRHT,
        "kronecker": Kronecker,
        "none": Identity,
    }
    return kinds.get(kind, Dense)(kind, dim, seed, shapes)


def _signs(rng: np.random.Generator, shape: int | tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 2, shape, dtype=np.int8).astype(np.float32) * 2 - 1


class Projection:
    """`add(out, name, gradient)`: out (n, dim) float32 += gradient (n, rows * columns) of module
    `name`, projected.
    """

    def __init__(self, kind: str, dim: int, seed: int, shapes: Shapes) -> None:
        self.kind, self.dim, self.seed, self.shapes = kind, dim, seed, dict(shapes)
        self.sizes = {name: prod(shape) for name, shape in self.shapes.items()}
        self._drawn: dict[tuple[str, torch.device], tuple[torch.Tensor, ...]] = {}

    def _tensors(self, name: str, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The module's random tensors on the device of `like`, drawn once."""
        key = (name, like.device)
        if key not in self._drawn:
            drawn = self._draw(stream(self.seed, name).numpy(), self.sizes[name], name)
            self._drawn[key] = tuple(torch.from_numpy(array).to(like.device) for array in drawn)
        return self._drawn[key]

    def _draw(self, rng: np.random.Generator, size: int, name: str) -> Drawn:
        """The module's random arrays."""
        raise NotImplementedError

    def add(self, out: torch.Tensor, name: str, gradient: torch.Tensor) -> None:
        """out (n, dim) float32 += gradient (n, rows * columns) of module `name`, projected."""
        raise NotImplementedError


class Fold(Projection):
    """Signs per parameter; chunks of `dim`, each shifted cyclically by a random offset, added."""

    def _draw(self, rng: np.random.Generator, size: int, name: str) -> Drawn:
        return _signs(rng, size), rng.integers(0, self.dim, -(-size // self.dim))

    def add(self, out: torch.Tensor, name: str, gradient: torch.Tensor) -> None:
        signs, offsets = self._tensors(name, gradient)
        # A chunk is two copies on a CPU (3 to 14 times faster than a gather) but two launches on an
        # accelerator.
        (self._add_slices if gradient.device.type == "cpu" else self._add_gathered)(
            out, gradient * signs, offsets
        )

    def _add_slices(self, out: torch.Tensor, signed: torch.Tensor, offsets: torch.Tensor) -> None:
        for chunk, offset in zip(signed.split(self.dim, 1), offsets.tolist(), strict=True):
            room = self.dim - offset
            head, tail = chunk[:, :room], chunk[:, room:]
            out[:, offset : offset + head.shape[1]] += head
            out[:, : tail.shape[1]] += tail

    def _add_gathered(self, out: torch.Tensor, signed: torch.Tensor, offsets: torch.Tensor) -> None:
        padded = torch.nn.functional.pad(signed, (0, len(offsets) * self.dim - signed.shape[1]))
        source = (torch.arange(self.dim, device=out.device) - offsets[:, None]) % self.dim
        out += (
            padded.view(len(signed), *source.shape)
            .gather(2, source.expand(len(signed), -1, -1))
            .sum(1)
        )


class CountSketch(Projection):
    """A random sign and a random coordinate for each parameter."""

    def _draw(self, rng: np.random.Generator, size: int, name: str) -> Drawn:
        return _signs(rng, size), rng.integers(0, self.dim, size)

    def add(self, out: torch.Tensor, name: str, gradient: torch.Tensor) -> None:
        signs, targets = self._tensors(name, gradient)
        out.index_add_(1, targets, gradient * signs)


class SRHT(Projection):
    """Signs, an orthonormal Hadamard transform of the padded module, and `dim` of its coordinates
    at random places.
    """

    def _draw(self, rng: np.random.Generator, size: int, name: str) -> Drawn:
        padded = 1 << (size - 1).bit_length()
        kept = min(self.dim, padded)
        scaled = _signs(rng, size) * np.float32(np.sqrt(padded / kept))
        return scaled, rng.permutation(padded)[:kept], rng.permutation(self.dim)[:kept]

    def add(self, out: torch.Tensor, name: str, gradient: torch.Tensor) -> None:
        signs, sources, targets = self._tensors(name, gradient)
        padded = 1 << (self.sizes[name] - 1).bit_length()
        mixed = _hadamard(torch.nn.functional.pad(gradient * signs, (0, padded - self.sizes[name])))
        out[:, targets] += mixed[:, sources]


def _hadamard(x: torch.Tensor) -> torch.Tensor:
    """The orthonormal Hadamard transform of each row of x (n, a power of two), as products with
    small matrices.
    """
    rows, size = x.shape
    left = size
    while left > 1:
        block = min(HADAMARD_BLOCK, left)
        matrix = torch.from_numpy(
            hadamard(block, dtype=np.float32) / np.float32(np.sqrt(block))
        ).to(x.device)
        left //= block
        x = torch.einsum("ij,najb->naib", matrix, x.view(rows, left, block, -1))
    return x.reshape(rows, size)


class Kronecker(Projection):
    """L G R of a module's gradient G, about sqrt(dim) numbers a side (LoGra, Choe et al. 2024), at
    random places.
    """

    def _draw(self, rng: np.random.Generator, size: int, name: str) -> Drawn:
        rows, columns = self.shapes[name]
        left = min(rows, 1 << (self.dim.bit_length() // 2))
        right = min(columns, self.dim // left)
        return (
            self._side(rng, left, rows),
            self._side(rng, right, columns),
            rng.permutation(self.dim)[: left * right],
        )

    @staticmethod
    def _side(rng: np.random.Generator, kept: int, size: int) -> np.ndarray:
        """(kept, size): dense signs, or one random sign for each coordinate where nothing is to be
        dropped.
        """
        if kept == size:
            return np.diag(_signs(rng, size))
        return _signs(rng, (kept, size)) / np.float32(np.sqrt(kept))

    def add(self, out: torch.Tensor, name: str, gradient: torch.Tensor) -> None:
        left, right, targets = self._tensors(name, gradient)
        out[:, targets] += (left @ gradient.view(-1, *self.shapes[name]) @ right.T).flatten(1)


class Dense(Projection):
    """A dense matrix of +-1/sqrt(dim) or N(0, 1/dim), drawn in blocks of rows, never whole."""

    def add(self, out: torch.Tensor, name: str, gradient: torch.Tensor) -> None:
        for start in range(0, self.sizes[name], DENSE_BLOCK):
            part = gradient[:, start : start + DENSE_BLOCK]
            rng = stream(self.seed, name, start).numpy()
            shape = (part.shape[1], self.dim)
            block = (
                rng.standard_normal(shape, dtype=np.float32)
                if self.kind == "gaussian"
                else _signs(rng, shape)
            )
            out += part @ torch.from_numpy(block / np.float32(np.sqrt(self.dim))).to(part.device)


class Identity(Projection):
    """No projection: the exact gradient, module after module."""

    def __init__(self, kind: str, dim: int, seed: int, shapes: Shapes) -> None:
        super().__init__(kind, dim, seed, shapes)
        starts = np.cumsum([0, *self.sizes.values()]).tolist()
        self.dim = starts.pop()
        self._starts = dict(zip(self.sizes, starts, strict=True))

    def add(self, out: torch.Tensor, name: str, gradient: torch.Tensor) -> None:
        start = self._starts[name]
        out[:, start : start + gradient.shape[1]] += gradient
