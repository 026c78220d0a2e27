"""The V-norm and greedy selection (floor 1; Eq. 3, Eq. 4), in the dual form: never a d x d matrix.

V = ridge I + sum over labelled and picked pairs of phi phi'. With Q so that ridge V^-1 = I - Q'Q, the squared norm
||phi||^2 in V^-1 is r / ridge, r = phi'phi - ||Q phi||^2; a pick adds one row to Q.
"""

import numpy as np
from scipy.linalg import cho_factor, solve_triangular

from activedpo_lib.records import Selection

# Scores this close, relative to the best, are ties: float64 sums in another order differ by less.
TIE = 1e-9


def _check(phi, batch_size, ridge, past_phi, ties):
    if phi.ndim != 2:
        raise ValueError(f"phi must be (pairs, dimensions), got shape {phi.shape}")
    if not np.isfinite(phi).all():
        raise ValueError("phi has NaN or infinite features: the model's gradients overflowed")
    if not ridge > 0:
        raise ValueError(f"ridge must be positive, got {ridge}: V_0 = ridge I must be invertible (D2)")
    if not 0 <= batch_size <= len(phi):
        raise ValueError(
            f"cannot pick {batch_size} pairs from a pool of {len(phi)}; lower batch_size or enlarge the pool"
        )
    if past_phi.shape[1:] != phi.shape[1:]:
        raise ValueError(f"past_phi must be (labelled, {phi.shape[1]}) like phi, got shape {past_phi.shape}")
    if ties is not None and len(ties) != len(phi):
        raise ValueError(f"ties must hold one number a pair: {len(phi)}, got {len(ties)}")


def _past_rows(past, ridge):
    """Q's rows (k, d) for the labelled pairs: one Cholesky of the k x k kernel."""
    if not len(past):
        return past
    factor, _ = cho_factor(past @ past.T + ridge * np.eye(len(past)), lower=True)
    return solve_triangular(factor, past, lower=True)


def uncertainty(phi, ridge, past_phi=None):
    """||phi||_{V^-1}, (n,) float64, V = ridge I + past_phi' past_phi (Prop. 1). phi (n, d), past_phi (k, d)."""
    phi, past = _float64(phi, past_phi)
    _check(phi, 0, ridge, past, None)
    return np.sqrt(_residual(phi, _past_rows(past, ridge)) / ridge)


def _float64(phi, past_phi):
    """Both as float64; no labelled pairs are (0, d) of them."""
    phi = np.asarray(phi, dtype=np.float64)
    return phi, np.empty((0, *phi.shape[1:])) if past_phi is None else np.asarray(past_phi, dtype=np.float64)


def _residual(phi, rows):
    residual = np.einsum("nd,nd->n", phi, phi) - np.einsum("nk,nk->n", *[phi @ rows.T] * 2)
    return np.maximum(residual, 0.0)


def first_of_best(values, ties):
    """The row of the largest value; among ties, the one with the smallest key."""
    best = values.max()
    contenders = np.flatnonzero(values >= best - TIE * abs(best))
    return int(contenders[np.argmin(ties[contenders])])


def select_greedy(phi, batch_size, ridge, past_phi=None, ties=None, groups=None):
    """Pick `batch_size` pairs, each the argmax of ||phi||_{V^-1} (Eq. 3), V growing with each pick (Eq. 4).

    phi: (n, d) pair features; ridge: the absolute number on V_0's diagonal (D2); past_phi: (k, d) features of the pairs
    labelled before (D3); ties: (n,) keys, the smallest of equal scores is taken (default: the rows' order);
    groups: (n,) the pairs' prompts, to pick at most one pair of each (D13).
    Returns Selection(indices (b,), scores (b,): the norm when picked), b < batch_size only where groups run out.
    Raises ValueError for shapes that do not fit, features that are not finite, ridge <= 0, or a batch above n.
    """
    phi, past = _float64(phi, past_phi)
    _check(phi, batch_size, ridge, past, ties)
    ties = np.arange(len(phi)) if ties is None else np.asarray(ties)
    filled = len(past)
    rows = np.empty((filled + batch_size, phi.shape[1]))
    rows[:filled] = _past_rows(past, ridge)
    residual = _residual(phi, rows[:filled])
    free = np.ones(len(phi), dtype=bool)
    picked, scores = [], []
    while len(picked) < batch_size and free.any():
        at = first_of_best(np.where(free, residual, -1.0), ties)
        picked.append(at)
        scores.append(np.sqrt(residual[at] / ridge))
        free &= np.arange(len(phi)) != at if groups is None else groups != groups[at]
        q = (phi[at] - rows[:filled].T @ (rows[:filled] @ phi[at])) / np.sqrt(ridge + residual[at])
        rows[filled] = q
        filled += 1
        residual = np.maximum(residual - (phi @ q) ** 2, 0.0)
    return Selection(np.array(picked, dtype=np.int64), np.array(scores))


def largest(values, batch_size, ties):
    """The rows of the `batch_size` largest values at once, best first; equal values in the order of their keys."""
    order = np.lexsort((ties, -np.asarray(values, dtype=np.float64)))[:batch_size]
    return Selection(order.astype(np.int64), np.asarray(values, dtype=np.float64)[order])
