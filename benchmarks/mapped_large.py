"""Slow: picking from 300,000 pairs in a memory-mapped file, d 2048 (2.3 GiB): synthetic, rank 400
and noise, normalised.
"""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.mapped import rows_of

PAIRS, DIMENSIONS, RANK = 300_000, 2048, 400


def write(path, pairs=PAIRS, dimensions=DIMENSIONS, rank=RANK):
    """The pool, written in blocks of 10,000 pairs; differences of unit vectors with a decaying
    spectrum, as gradients have.
    """
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(pairs, dimensions))
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((rank, dimensions), dtype=np.float32) / np.sqrt(dimensions)
    basis *= (np.arange(1, rank + 1) ** -0.5).astype(np.float32)[:, None]
    for start in range(0, pairs, 10_000):
        sides = []
        for _ in range(2):
            side = rng.standard_normal((10_000, rank), dtype=np.float32) @ basis
            side += 0.01 * rng.standard_normal((10_000, dimensions), dtype=np.float32)
            sides.append(side / np.linalg.norm(side, axis=1, keepdims=True))
        out[start : start + 10_000] = sides[0] - sides[1]
    out.flush()


def run():
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "pairs.npy")
        write(path)
        yield from rows_of(path, repeats=1, at_most=None)
