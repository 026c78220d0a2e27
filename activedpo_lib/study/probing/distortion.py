"""What a projection costs in quality: inner products, and what greedy selection gets from them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.features import pair_features
from activedpo_lib.method.formulas import unit_rows
from activedpo_lib.method.gradients import gradient_shapes
from activedpo_lib.method.projection import Projection, make_projection
from activedpo_lib.runs.run import Run
from activedpo_lib.runs.saved import policy_after
from activedpo_lib.study.probing.probes import pool_gradients


def project(exact: np.ndarray, projection: Projection) -> np.ndarray:
    """Rows of exact gradients (n, p) projected to (n, d), as `response_features` would project
    them.
    """
    out, start = torch.zeros(len(exact), projection.dim), 0
    for name, size in projection.sizes.items():
        projection.add(out, name, torch.from_numpy(exact[:, start : start + size]))
        start += size
    return out.numpy()


def cosines(phi: np.ndarray) -> np.ndarray:
    """The cosines of all couples of rows, (n (n - 1) / 2,). phi: (n, d)."""
    unit = unit_rows(phi)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


def cosine_error(exact: np.ndarray, projected: np.ndarray) -> float:
    """Root mean square error of the projected rows' cosines; about 1 / sqrt(d) (Sec. 3.3)."""
    return float(np.sqrt(np.square(cosines(projected) - cosines(exact)).mean()))


def log_det(phi: np.ndarray, rows: Sequence[int], ridge: float) -> float:
    """log det(I + phi phi' / ridge) of the picked rows: what greedy selection maximises."""
    chosen = phi[rows].astype(np.float64)
    return float(np.linalg.slogdet(np.eye(len(rows)) + chosen @ chosen.T / ridge)[1])


def quality_table(
    run: Run, kinds: Sequence[str], dimensions: Sequence[int], draws: int
) -> pd.DataFrame:
    """Projections against exact gradients, on pi_SFT's first pool (Fig. 11): rows (kind,
    dimensions, draw, error, share, chance).

    error: of cosines; share: the log-determinant of the picks, measured with the exact features,
    over that of the exact picks; chance: the same of random batches.
    """
    pool, exact = pool_gradients(run, kind="none")
    how = (run.params.selection.normalise, run.params.selection.normalise_when)
    phi = pair_features(exact, pool.pairs, *how)
    ridge, size = float(np.square(phi).sum(1).mean()), min(run.params.batch_size, len(phi))
    best = log_det(phi, select_greedy(phi, size, ridge).indices, ridge)
    chance = random_log_det(phi, size, ridge) / best
    shapes, rows = gradient_shapes(policy_after(run, 0)), []
    cells = ((kind, d, draw) for kind in kinds for d in dimensions for draw in range(draws))
    for kind, d, draw in cells:
        seen = exact._replace(phi=project(exact.phi, make_projection(kind, d, draw, shapes)))
        picks = select_greedy(pair_features(seen, pool.pairs, *how), size, ridge).indices
        row = {"kind": kind, "dimensions": d, "draw": draw}
        row |= {"error": cosine_error(exact.phi, seen.phi)}
        rows.append(row | {"share": log_det(phi, picks, ridge) / best, "chance": chance})
    return pd.DataFrame(rows)


def random_log_det(phi: np.ndarray, size: int, ridge: float, times: int = 20) -> float:
    """Mean log-determinant of batches drawn at random, `times` of them."""
    drawn = (np.random.default_rng(s).choice(len(phi), size, replace=False) for s in range(times))
    return float(np.mean([log_det(phi, rows, ridge) for rows in drawn]))
