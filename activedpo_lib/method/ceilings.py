"""Full knowledge: what one who knew every reward would pick. No strategies: they read the oracle's
rewards of the whole pool before they choose.

A greedy chooser is no proof of a bound: one with full knowledge gains at least this much.
"""

from __future__ import annotations

import numpy as np

from activedpo_lib.method.design import largest
from activedpo_lib.method.formulas import TINY
from activedpo_lib.method.strategies.greedy import one_by_one
from activedpo_lib.records import Candidates, Ceiling, Selection
from activedpo_lib.streams import Stream


def _matching(
    candidates: Candidates, gaps: np.ndarray, batch_size: int, *, stream: Stream
) -> Selection:
    """Greedily the batch whose labels' sum of sign(d_i) phi_i has the largest cosine with
    g = sum_i d_i phi_i, the direction that raises the pool's expected reward.
    """
    phi = candidates.phi.astype(np.float64)
    goal = gaps @ phi
    steps = np.sign(gaps)[:, None] * phi
    along, squares = steps @ goal, np.square(steps).sum(1)
    total = np.zeros(phi.shape[1])

    def cosines() -> np.ndarray:
        norms = np.sqrt(np.maximum(total @ total + 2 * steps @ total + squares, TINY))
        return np.where(squares > 0, (total @ goal + along) / norms, -np.inf)

    def add(at: int) -> None:
        total[:] += steps[at]

    return one_by_one(batch_size, stream.uniforms(candidates.ids), cosines, add)


def _largest_gap(
    candidates: Candidates, gaps: np.ndarray, batch_size: int, *, stream: Stream
) -> Selection:
    """The largest |d_i|."""
    return largest(np.abs(gaps), batch_size, stream.uniforms(candidates.ids))


CEILINGS = {
    "matching": Ceiling(frozenset({"phi"}), _matching),
    "largest_gap": Ceiling(frozenset(), _largest_gap),
}
