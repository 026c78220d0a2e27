"""Picking from 30,000 real pairs in a memory-mapped file, d 8192: rows read again, and memory
beyond the page cache.
"""

import tempfile
from pathlib import Path

import numpy as np

from activedpo_lib.method.design import select_greedy
from benchmarks.measure import Row, interleaved, peak_mib
from benchmarks.subjects import world_pairs

PICKS = 50


class Counting:
    """A pool that counts the rows read: in passes over it, and again."""

    def __init__(self, phi):
        self._phi, self.shape, self.passed, self.again = phi, phi.shape, 0, 0

    def __len__(self):
        return len(self._phi)

    def __getitem__(self, at):
        found = self._phi[at]
        rows = 1 if found.ndim == 1 else len(found)
        if isinstance(at, slice):
            self.passed += rows
        else:
            self.again += rows
        return found


def labelled_of(phi, labelled):
    """`labelled` of the pairs, evenly spread, as those labelled before; None for 0."""
    return np.array(phi[:: len(phi) // labelled][:labelled]) if labelled else None


def selecting(path, labelled):
    """A call that picks from the file, as another process would."""
    phi = np.load(path, mmap_mode="r")
    past = labelled_of(phi, labelled)
    return lambda: select_greedy(phi, PICKS, 1.0, past)


def read_once(phi):
    """The limit: each byte of the file read and summed."""
    return lambda: [block.sum() for block in np.array_split(phi, 64)]


def rows_of(path, repeats=3, at_most=0.5):
    """The rows for the file at `path`: reads (`at_most` of n), time against one read, and
    memory.
    """
    phi = np.load(path, mmap_mode="r")
    for labelled in (0, 500):
        pool = Counting(phi)
        select_greedy(pool, PICKS, 1.0, labelled_of(phi, labelled))
        seconds = interleaved(
            {"ours": selecting(path, labelled), "read": read_once(phi)},
            repeats,
            warm_up=repeats > 1,
        )
        name = f"{len(phi):,} x {phi.shape[1]}, {labelled} labelled"
        yield Row(f"{name}: rows read again / n", pool.again / len(phi), "", at_most=at_most)
        yield Row(f"{name}: selection", float(np.median(seconds["ours"])), "s")
        yield Row(
            f"{name}: selection / one read of the pool",
            float(np.median(seconds["ours"] / seconds["read"])),
        )
        above, whole = peak_mib(selecting, path, labelled)
        yield Row(f"{name}: memory beyond the page cache", whole, "MiB", at_most=1024)
        yield Row(f"{name}: of which selection", above, "MiB")


def run():
    """The rows of this benchmark: 660 prompts with 10 responses each, all pairs."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "pairs.npy")
        np.save(path, world_pairs(prompts=660, responses=10))
        yield from rows_of(path)
