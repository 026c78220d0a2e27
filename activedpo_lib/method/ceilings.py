"""Full knowledge: what one who knew every reward would pick. No strategies: they read the oracle's
rewards of the whole pool before they choose.

A greedy chooser is no proof of a bound: one with full knowledge gains at least this much.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from activedpo_lib.method.design import largest
from activedpo_lib.method.formulas import TINY
from activedpo_lib.method.strategies.greedy import one_by_one
from activedpo_lib.records import Candidates, Selection
from activedpo_lib.streams import Stream


class SelectKnowing(Protocol):
    """A pick, given the true gaps d_i = s(y1) - s(y2) of all candidates, (n,)."""

    def __call__(
        self, found: Candidates, gaps: np.ndarray, batch_size: int, *, stream: Stream
    ) -> Selection: ...


class Ceiling(NamedTuple):
    """Full knowledge: its pick, and the columns of Candidates that it needs besides the gaps."""

    needs: frozenset[str]
    select: SelectKnowing


def _matching(found: Candidates, gaps: np.ndarray, batch_size: int, *, stream: Stream) -> Selection:
    """Greedily the batch whose labels' sum of sign(d_i) phi_i has the largest cosine with
    g = sum_i d_i phi_i, the direction that raises the pool's expected reward.
    """
    phi = found.phi.astype(np.float64)
    goal = gaps @ phi
    steps = np.sign(gaps)[:, None] * phi
    along, squares = steps @ goal, np.square(steps).sum(1)
    total = np.zeros(phi.shape[1])

    def cosines() -> np.ndarray:
        norms = np.sqrt(np.maximum(total @ total + 2 * steps @ total + squares, TINY))
        return np.where(squares > 0, (total @ goal + along) / norms, -np.inf)

    def add(at: int) -> None:
        total[:] += steps[at]

    return one_by_one(batch_size, stream.uniforms(found.ids), cosines, add)


def _largest_gap(
    found: Candidates, gaps: np.ndarray, batch_size: int, *, stream: Stream
) -> Selection:
    """The largest |d_i|."""
    return largest(np.abs(gaps), batch_size, stream.uniforms(found.ids))


CEILINGS = {
    "matching": Ceiling(frozenset({"phi"}), _matching),
    "largest_gap": Ceiling(frozenset(), _largest_gap),
}
