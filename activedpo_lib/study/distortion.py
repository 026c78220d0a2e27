"""What a projection costs in quality: inner products, and what greedy selection gets from them."""

import numpy as np
import torch

from activedpo_lib.method.formulas import unit_rows


def project(exact, projection):
    """Rows of exact gradients (n, p) projected to (n, d), as `response_features` would project
    them.
    """
    out, start = torch.zeros(len(exact), projection.dim), 0
    for name, size in projection.sizes.items():
        projection.add(out, name, torch.from_numpy(exact[:, start : start + size]))
        start += size
    return out.numpy()


def cosines(phi):
    """The cosines of all couples of rows, (n (n - 1) / 2,). phi: (n, d)."""
    unit = unit_rows(phi)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


def cosine_error(exact, projected):
    """Root mean square error of the projected rows' cosines; about 1 / sqrt(d) (Sec. 3.3)."""
    return float(np.sqrt(np.square(cosines(projected) - cosines(exact)).mean()))


def log_det(phi, rows, ridge):
    """log det(I + phi phi' / ridge) of the picked rows: what greedy selection maximises."""
    chosen = phi[rows].astype(np.float64)
    return float(np.linalg.slogdet(np.eye(len(rows)) + chosen @ chosen.T / ridge)[1])
