"""Rows of features: too many for memory, in a file that a stopped pass resumes; and the pairs'
features from their responses'.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from activedpo_lib.method.formulas import TINY, unit_rows
from activedpo_lib.records import Budget, Features

MIB = 1 << 20
BLOCK = 1024  # pairs at a time, so that features larger than memory stay on disk


class MemmapRows:
    """An (n, d) float32 matrix filled in any order.

    It is a tensor on `device`; where it is larger than the budget's `memory_mib` and there is a
    `folder`, it is a file there. `file` names all that it is computed from: opened again, it still
    has the rows that were put.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        file: str,
        budget: Budget = Budget(),  # noqa: B008 - it is immutable
        device: torch.device | str = "cpu",
    ) -> None:
        self.values: torch.Tensor | None = None
        self._done: np.ndarray = np.zeros(shape[0], dtype=bool)
        if budget.folder is None or fits(shape, budget):
            self.values = torch.zeros(*shape, device=device)
            return
        path = Path(budget.folder) / f"{file}.f32"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _mapped(path, shape, np.float32)
        self._done = _mapped(path.with_suffix(".done"), shape[:1], bool)

    def has(self, rows: Any) -> bool:
        """Whether these rows were put before, by this process or by one that was stopped."""
        return bool(self._done[rows].all())

    def count(self) -> int:
        """How many rows were put."""
        return int(self._done.sum())

    def put(self, rows: Any, values: torch.Tensor) -> None:
        """Set `rows` to `values` (m, d); on disk before they count as done."""
        if self.values is None:
            self._file[rows] = values.float().cpu().numpy()
            self._file.flush()
        else:
            self.values[rows] = values.float().to(self.values.device)
        self._done[rows] = True

    def numpy(self) -> np.ndarray:
        """The matrix as an array, memory-mapped where it is a file."""
        return self._file if self.values is None else self.values.cpu().numpy()


def fits(shape: tuple[int, int], budget: Budget) -> bool:
    """Whether float32 rows of this shape stay in memory."""
    return budget.folder is None or shape[0] * shape[1] * 4 <= budget.memory_mib * MIB


def _mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap:
    """The file as a writable array; new files, and those of another size, start as zeros."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    whole = path.is_file() and path.stat().st_size == size
    return np.memmap(path, dtype=dtype, mode="r+" if whole else "w+", shape=shape)


def pair_features(
    features: Features,
    pairs: np.ndarray,
    normalise: str = "response",
    normalise_when: str = "after",
    budget: Budget = Budget(),  # noqa: B008 - it is immutable
) -> np.ndarray:
    """phi(x, y1, y2) = grad r(x, y1) - grad r(x, y2), (n, d) float32, from the responses' Features;
    pairs: (n, 2) rows of them. D4: `normalise`; D8: `normalise_when`.

    In a file of the budget's folder where phi is too large for memory; a block of pairs at a time.
    """
    found = _unnamed((len(pairs), features.phi.shape[1]), budget)
    for start in range(0, len(pairs), BLOCK):
        block = pairs[start : start + BLOCK]
        first, second = (_normalised(features, at, normalise, normalise_when) for at in block.T)
        difference = first - second
        if normalise == "pair":
            difference = unit_rows(difference)
        found[start : start + len(block)] = difference
    return found


def _unnamed(shape: tuple[int, int], budget: Budget) -> np.ndarray:
    """Float32 rows, in a file without a name where they are too large for memory: nothing goes on
    from it, and it is gone with its process, also where that is killed.
    """
    if budget.folder is None or fits(shape, budget):
        return np.empty(shape, dtype=np.float32)
    budget.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=budget.folder) as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)


def _normalised(
    features: Features, at: np.ndarray, normalise: str, normalise_when: str
) -> np.ndarray:
    phi = features.phi[at]
    if normalise == "token":
        return phi / features.tokens[at, None]
    if normalise != "response":
        return phi
    if normalise_when == "after":
        return unit_rows(phi)
    return phi / np.maximum(features.norm[at], TINY)[:, None]


def mean_square_norm(phi: np.ndarray) -> float:
    """The mean of ||phi||^2 over the pool's pairs (n, d), what a relative ridge is relative to
    (D2); 0 where there are none.
    """
    blocks = (phi[start : start + BLOCK] for start in range(0, len(phi), BLOCK))
    squares = [np.square(block.astype(np.float64)).sum(1) for block in blocks]
    return float(np.concatenate(squares).mean()) if squares else 0.0
