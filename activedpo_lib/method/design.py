"""The V-norm and greedy selection (Eq. 3, Eq. 4), in the dual form: never a d x d matrix.

V = ridge I + sum over labelled and picked pairs of phi phi'. With Q so that ridge V^-1 = I - Q'Q,
the squared norm ||phi||^2 in V^-1 is r / ridge, r = phi'phi - ||Q phi||^2; a pick adds one row to
Q. Residuals r only fall, so one known from before is an upper bound: after a single pass over the
pool, only pairs that could be the best are read again.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from scipy.linalg import cho_factor, solve_triangular

from activedpo_lib.records import Selection
from activedpo_lib.runtime import device
from activedpo_lib.shards import SingleProcess

Array = np.ndarray | torch.Tensor

# Scores this close, relative to the best, are ties: float64 sums in another order differ by less.
TIE = 1e-9
# What a float32 residual may be off, relative to phi'phi; bounds are raised by it.
SLACK = 1e-5
BLOCK_BYTES = 32 << 20
REFRESHED, MADE_EXACT = 64, 8
HEAD = 3  # what goes before a picked pair's features, from the process that has it to the others


def _check(phi: Array, batch_size: int, ridge: float, past_phi: Any, ties: Any, pairs: int) -> None:
    if len(phi.shape) != 2:
        raise ValueError(f"phi must be (pairs, dimensions), got shape {tuple(phi.shape)}")
    if not ridge > 0:
        raise ValueError(
            f"ridge must be positive, got {ridge}: V_0 = ridge I must be invertible (D2)"
        )
    if not 0 <= batch_size <= pairs:
        raise ValueError(
            f"cannot pick {batch_size} pairs from a pool of {pairs}; lower batch_size or enlarge "
            "the pool"
        )
    if past_phi is not None and past_phi.shape[1:] != phi.shape[1:]:
        raise ValueError(
            f"past_phi must be (labelled, {phi.shape[1]}) like phi, got shape "
            f"{tuple(past_phi.shape)}"
        )
    if ties is not None and len(ties) != len(phi):
        raise ValueError(f"ties must hold one number a pair: {len(phi)}, got {len(ties)}")


def _past_rows(past_phi: np.ndarray | None, dimensions: int, ridge: float) -> np.ndarray:
    """Q's rows (k, d) float64 for the labelled pairs: one Cholesky of the k x k kernel."""
    if past_phi is None or not len(past_phi):
        return np.empty((0, dimensions))
    past = np.asarray(past_phi, dtype=np.float64)
    factor, _ = cho_factor(past @ past.T + ridge * np.eye(len(past)), lower=True)
    return solve_triangular(factor, past, lower=True)


def _tensor(part: Array, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if isinstance(part, np.ndarray) and not part.flags.writeable:  # a file mapped for reading
        part = np.array(part)
    return torch.as_tensor(part, dtype=dtype, device=device)


def _residuals(phi: Array, rows: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
    """r and phi'phi of every pair, (2, n) float64, in one pass over the pool by blocks, computed in
    `dtype`.
    """
    found = np.empty((2, len(phi)))
    rows = rows.to(dtype)
    step = max(1, BLOCK_BYTES // (8 * phi.shape[1]))
    for start in range(0, len(phi), step):
        block = _tensor(phi[start : start + step], dtype, rows.device)
        squares = torch.linalg.vector_norm(block, dim=1).square()
        seen = (block @ rows.T).square().sum(1) if len(rows) else torch.zeros_like(squares)
        found[:, start : start + step] = (
            torch.stack([squares - seen, squares]).double().cpu().numpy()
        )
    if not np.isfinite(found[1]).all():
        raise ValueError("phi has NaN or infinite features: the model's gradients overflowed")
    return found


def uncertainty(phi: Array, ridge: float, past_phi: np.ndarray | None = None) -> np.ndarray:
    """||phi||_{V^-1}, (n,) float64, V = ridge I + past_phi' past_phi (Prop. 1). phi: (n, d);
    past_phi: (k, d). Raises ValueError for shapes that do not fit, or a ridge that is not positive.
    """
    _check(phi, 0, ridge, past_phi, None, len(phi))
    rows = torch.from_numpy(_past_rows(past_phi, phi.shape[1], ridge)).to(device())
    return np.sqrt(np.maximum(_residuals(phi, rows, torch.float64)[0], 0.0) / ridge)


class Residuals:
    """The residuals of a pool: a bound from above for all, and exact (float64) for those that could
    be the best.
    """

    def __init__(self, phi: Array, past_rows: np.ndarray, room: int) -> None:
        past = torch.from_numpy(past_rows).to(device())
        self._phi, self._filled = phi, len(past)
        self._rows = torch.cat([past, past.new_empty(room, phi.shape[1])])
        residual, squares = _residuals(phi, past, torch.float32)
        self.bound = residual + SLACK * squares
        self._known = np.full(len(phi), len(past))  # how many rows of Q `bound` accounts for
        self._exact = np.zeros(len(phi), dtype=bool)  # whether SLACK is gone from it
        self.free = np.ones(len(phi), dtype=bool)

    def row(self, at: Any) -> torch.Tensor:
        """Pairs' features in float64, on the device."""
        return _tensor(self._phi[at], torch.float64, self._rows.device)

    def best(self) -> tuple[float, np.ndarray]:
        """(the largest r, the free rows within TIE of it), all exact; (-inf, none) where nothing is
        free.
        """
        count, most = REFRESHED, max(REFRESHED, BLOCK_BYTES // (8 * self._phi.shape[1]))
        while True:
            top = self.bound[self.free].max(initial=-np.inf)
            contenders = np.flatnonzero(self.free & _ties(self.bound, top))
            if (self._known[contenders] < self._filled).any():
                self._refresh(self._largest(self.free & (self._known < self._filled), count))
                count = min(2 * count, most)  # many are still in question: fewer, larger reads
            elif not self._exact[contenders].all():
                bounded = self.free & ~self._exact & (self._known == self._filled)
                self._make_exact(self._largest(bounded, MADE_EXACT))
            else:
                return top, contenders

    def _largest(self, among: np.ndarray, count: int) -> np.ndarray:
        rows = np.flatnonzero(among)
        return (
            rows if len(rows) <= count else rows[np.argpartition(-self.bound[rows], count)[:count]]
        )

    def _refresh(self, at: np.ndarray) -> None:
        """Take off what the rows of Q that are new to these pairs account for."""
        known = self._known[at]
        seen = (self.row(at) @ self._rows[known.min() : self._filled].T).square().cpu().numpy()
        seen[np.arange(known.min(), self._filled) < known[:, None]] = 0.0
        self.bound[at] = np.maximum(self.bound[at] - seen.sum(1), 0.0)
        self._known[at] = self._filled

    def _make_exact(self, at: np.ndarray) -> None:
        x = self.row(at)
        residual = x.square().sum(1) - (x @ self._rows[: self._filled].T).square().sum(1)
        self.bound[at] = residual.clamp(min=0.0).cpu().numpy()
        self._exact[at] = True

    def add(self, phi: torch.Tensor, residual: float, ridge: float) -> None:
        """V grows by phi phi' (Eq. 4): Q gets a row."""
        rows = self._rows[: self._filled]
        self._rows[self._filled] = (phi - rows.T @ (rows @ phi)) / np.sqrt(ridge + residual)
        self._filled += 1


def select_greedy(
    phi: Array,
    batch_size: int,
    ridge: float,
    past_phi: np.ndarray | None = None,
    ties: np.ndarray | None = None,
    prompts: np.ndarray | None = None,
    processes: SingleProcess = SingleProcess(),  # noqa: B008 - it has no state
) -> Selection:
    """Pick `batch_size` pairs, each the argmax of ||phi||_{V^-1} (Eq. 3), V growing with each pick
    (Eq. 4).

    phi: (n, d) pair features, an array, a memory-mapped one or a tensor: read once, then a few rows
    at a time; ridge: the absolute number on V_0's diagonal (D2); past_phi: (k, d) features of the
    pairs labelled before (D3); ties: (n,) numbers, the smallest of equal scores is taken (default:
    the rows' order); prompts: (n,) the numbers of the pairs' prompts, to pick at most one pair of
    each (D13); processes: a ProcessGroup where phi, ties and prompts are this process's slice of
    the pool; rows are then numbered over all slices.
    Returns Selection(indices (b,), scores (b,): the norm when picked), b < batch_size only where
    prompts run out. Raises ValueError for shapes that do not fit, features that are not finite,
    ridge <= 0, or a batch above n.
    """
    sizes = processes.collect([len(phi)])
    _check(phi, batch_size, ridge, past_phi, ties, sum(sizes))
    numbers = sum(sizes[: processes.rank]) + np.arange(len(phi))
    ties = numbers if ties is None else np.asarray(ties)
    pool = Residuals(phi, _past_rows(past_phi, phi.shape[1], ridge), batch_size)
    picked: list[int] = []
    scores: list[float] = []
    while len(picked) < batch_size:
        value, rows = pool.best()
        best = processes.largest(value)
        if best == -np.inf:
            break
        rows = rows[_ties(pool.bound[rows], best)]
        at = rows[np.argmin(ties[rows])] if len(rows) else None
        payload = functools.partial(_payload, pool, at, numbers, prompts)
        order = None if at is None else float(ties[at])
        found = processes.first(order, HEAD + phi.shape[1], payload)
        number, prompt, residual = found[:HEAD]
        pool.add(torch.from_numpy(found[HEAD:]).to(device()), float(residual), ridge)
        pool.free &= numbers != number if prompts is None else prompts != prompt
        picked.append(int(number))
        scores.append(np.sqrt(residual / ridge))
    return Selection(np.array(picked, dtype=np.int64), np.array(scores))


def _ties(values: np.ndarray, best: float) -> np.ndarray:
    """Which values are level with the best."""
    return values >= min(best, best * (1 - TIE))


def first_of_best(values: np.ndarray, ties: np.ndarray) -> int:
    """The row of the largest of `values` (n,); among equal ones, the one of the smallest tie."""
    rows = np.flatnonzero(_ties(values, values.max()))
    return int(rows[np.argmin(ties[rows])])


def _payload(
    pool: Residuals, at: Any, numbers: np.ndarray, prompts: np.ndarray | None
) -> np.ndarray:
    """What all processes need of a picked pair, (HEAD + d,) float64: its number, its prompt's, its
    residual, and its features.
    """
    prompt = 0 if prompts is None else prompts[at]
    return np.concatenate([[numbers[at], prompt, pool.bound[at]], pool.row(at).cpu().numpy()])


def largest(values: np.ndarray, batch_size: int, ties: np.ndarray) -> Selection:
    """The rows of the `batch_size` largest of `values` (n,) at once, best first; equal ones in the
    order of their `ties` (n,).
    """
    order = np.lexsort((ties, -np.asarray(values, dtype=np.float64)))[:batch_size]
    return Selection(order.astype(np.int64), np.asarray(values, dtype=np.float64)[order])
